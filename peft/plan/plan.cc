#include "peft/plan/plan.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace fedpeft {

namespace {

constexpr double kHeadInitStd = 0.02;
/// What Hugging Face PEFT puts before a module path of the task model.
constexpr std::string_view kPeftPrefix = "base_model.model.";

bool Matches(const Site& site, const std::string& target) {
  return site.path == target || site.path.ends_with("." + target);
}

/// The last path components, which is what people write as targets.
std::string KnownNames(const std::vector<Site>& sites) {
  std::set<std::string> names;
  for (const Site& site : sites) names.insert(site.path.substr(site.path.rfind('.') + 1));
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

Status CheckLora(const LoraConfig& lora) {
  if (lora.rank < 1) return InvalidArgument("peft.lora.rank: got " + std::to_string(lora.rank) + ", want at least 1");
  if (!(lora.dropout >= 0 && lora.dropout < 1)) {
    return InvalidArgument("peft.lora.dropout: got " + std::to_string(lora.dropout) + ", want 0 to below 1");
  }
  if (!(std::isfinite(lora.alpha) && lora.alpha > 0)) {
    return InvalidArgument("peft.lora.alpha: got " + std::to_string(lora.alpha) + ", want a positive number");
  }
  return OkStatus();
}

bool MatchesAny(const Site& site, const std::vector<std::string>& targets) {
  return std::any_of(targets.begin(), targets.end(), [&](const std::string& t) { return Matches(site, t); });
}

std::vector<std::string> Targets(const PeftPlan& plan) {
  return plan.lora.target_modules.empty() ? DefaultTargets(plan.base) : plan.lora.target_modules;
}

void AddHead(const HeadLayer& layer, std::vector<TensorSpec>& tensors) {
  tensors.push_back({PeftName(layer.path, "weight"),
                     {layer.out, layer.in},
                     Role::kHead,
                     layer.path,
                     {InitLaw::Kind::kNormal, kHeadInitStd}});
  if (layer.bias) tensors.push_back({PeftName(layer.path, "bias"), {layer.out}, Role::kHead, layer.path, {}});
}

}  // namespace

Result<std::vector<Site>> LoraSites(const PeftPlan& plan) {
  RETURN_IF_ERROR(CheckLora(plan.lora));
  const std::vector<Site> sites = LinearSites(plan.base);
  const std::vector<std::string> targets = Targets(plan);
  for (const std::string& target : targets) {
    if (std::none_of(sites.begin(), sites.end(), [&](const Site& site) { return Matches(site, target); })) {
      return InvalidArgument("peft.lora.target_modules: \"" + target + "\" matches no linear layer of the " +
                             plan.base.model_type + " base (known names: " + KnownNames(sites) + ")");
    }
  }
  std::vector<Site> chosen;
  for (const Site& site : sites) {
    if (!MatchesAny(site, targets)) continue;
    if (plan.lora.rank > std::min(site.in, site.out)) {
      return InvalidArgument("peft.lora.rank: got " + std::to_string(plan.lora.rank) + ", want at most " +
                             std::to_string(std::min(site.in, site.out)) + ", the smaller side of " + site.path);
    }
    chosen.push_back(site);
  }
  return chosen;
}

std::vector<std::string> PeftTargets(const PeftPlan& plan) {
  std::vector<std::string> targets = Targets(plan);
  if (plan.labels == 0) return targets;
  const std::vector<HeadLayer> head = HeadLayers(plan.base, plan.labels);
  const auto in_head = [&](const HeadLayer& layer) { return MatchesAny({.path = layer.path}, targets); };
  if (std::none_of(head.begin(), head.end(), in_head)) return targets;
  std::vector<std::string> paths;
  for (const Site& site : LinearSites(plan.base)) {
    if (MatchesAny(site, targets)) paths.push_back(site.path);
  }
  return paths;
}

std::string PeftName(const std::string& path, std::string_view suffix) {
  return std::string(kPeftPrefix).append(path).append(".").append(suffix);
}

Result<std::shared_ptr<const ParamLayout>> PlanLayout(const PeftPlan& plan) {
  RETURN_IF_ERROR(CheckBaseShape(plan.base));
  if (plan.labels < 0) {
    return InvalidArgument("problem.labels: has " + std::to_string(plan.labels) + " entries, want at least 0");
  }
  ASSIGN_OR_RETURN(const std::vector<Site> sites, LoraSites(plan));
  std::vector<TensorSpec> tensors;
  for (const Site& site : sites) {
    const double bound = 1 / std::sqrt(static_cast<double>(site.in));
    tensors.push_back({PeftName(site.path, "lora_A.weight"),
                       {plan.lora.rank, site.in},
                       Role::kLoraA,
                       site.path,
                       {InitLaw::Kind::kUniform, bound}});
    tensors.push_back({PeftName(site.path, "lora_B.weight"), {site.out, plan.lora.rank}, Role::kLoraB, site.path, {}});
  }
  if (plan.labels == 0) return ParamLayout::Make(std::move(tensors));
  for (const HeadLayer& layer : HeadLayers(plan.base, plan.labels)) AddHead(layer, tensors);
  return ParamLayout::Make(std::move(tensors));
}

ViewSpec PlanView(const PeftPlan& plan, const ParamLayout& layout) {
  ViewSpec view;
  for (const TensorSpec& spec : layout.tensors()) {
    const bool active = spec.role != Role::kHead || plan.head == HeadPolicy::kShared;
    view.train.push_back(active);
    view.share.push_back(active);
  }
  return view;
}

}  // namespace fedpeft
