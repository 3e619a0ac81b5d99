#include "peft/plan/plan.h"

#include <cmath>

#include "peft/plan/method_plans.h"
#include "peft/plan/targets.h"

namespace fedpeft {

namespace {

constexpr double kHeadInitStd = 0.02;
/// What Hugging Face PEFT puts before a module path of the task model.
constexpr std::string_view kPeftPrefix = "base_model.model.";

void AddHead(const MethodConfig& method, const HeadLayer& layer, std::vector<TensorSpec>& tensors) {
  tensors.push_back({HeadName(method, layer.path, "weight"),
                     {layer.out, layer.in},
                     Role::kHead,
                     layer.path,
                     {InitLaw::Kind::kNormal, kHeadInitStd}});
  if (layer.bias) tensors.push_back({HeadName(method, layer.path, "bias"), {layer.out}, Role::kHead, layer.path, {}});
}

}  // namespace

InitLaw KaimingLaw(std::int64_t in) {
  return {InitLaw::Kind::kUniform, 1 / std::sqrt(static_cast<double>(in))};
}

Result<std::vector<Site>> AdaptedLinears(const PeftPlan& plan) {
  std::vector<Site> sites;
  if (const auto* lora = std::get_if<LoraConfig>(&plan.method)) {
    ASSIGN_OR_RETURN(const std::vector<LoraSite> adapted, LoraSites(plan.base, *lora));
    for (const LoraSite& one : adapted) sites.push_back(one.site);
  }
  if (const auto* adalora = std::get_if<AdaLoraConfig>(&plan.method)) {
    ASSIGN_OR_RETURN(const std::vector<LoraSite> adapted, AdaLoraSites(plan.base, *adalora));
    for (const LoraSite& one : adapted) sites.push_back(one.site);
  }
  if (const auto* ia3 = std::get_if<Ia3Config>(&plan.method)) {
    ASSIGN_OR_RETURN(const std::vector<Ia3Site> adapted, Ia3Sites(plan.base, *ia3));
    for (const Ia3Site& one : adapted) sites.push_back(one.site);
  }
  if (const auto* sparse = std::get_if<SparseConfig>(&plan.method)) {
    ASSIGN_OR_RETURN(const std::vector<SparseSite> adapted, SparseSites(plan.base, *sparse));
    for (const SparseSite& one : adapted) sites.push_back(one.site);
  }
  return sites;
}

std::vector<std::string> PeftTargets(const PeftPlan& plan, const std::vector<std::string>& targets) {
  const std::vector<Site> adapted = AdaptedLinears(plan).value();
  std::size_t matched = 0;
  for (const Site& site : LinearSites(plan.base)) matched += MatchesAnyTarget(site.path, targets) ? 1 : 0;
  bool in_head = false;
  if (plan.labels > 0) {
    for (const HeadLayer& layer : HeadLayers(plan.base, plan.labels)) {
      in_head = in_head || MatchesAnyTarget(layer.path, targets);
    }
  }
  if (matched == adapted.size() && !in_head) return targets;
  std::vector<std::string> paths;
  for (const Site& site : adapted) paths.push_back(site.path);
  return paths;
}

std::string PeftName(const std::string& path, std::string_view suffix) {
  return std::string(kPeftPrefix).append(path).append(".").append(suffix);
}

std::string HeadName(const MethodConfig& method, const std::string& path, std::string_view suffix) {
  if (LeadOf(method).positions() == 0) return PeftName(path, suffix);
  return std::string("base_model.").append(path).append(".").append(suffix);
}

Result<std::shared_ptr<const ParamLayout>> PlanLayout(const PeftPlan& plan) {
  RETURN_IF_ERROR(CheckBaseShape(plan.base));
  if (plan.labels < 0) {
    return InvalidArgument("problem.labels: has " + std::to_string(plan.labels) + " entries, want at least 0");
  }
  const BaseSites sites = SitesOf(plan.base);
  const PlanContext at{plan.base, sites, plan.labels == 0};
  ASSIGN_OR_RETURN(std::vector<TensorSpec> tensors,
                   std::visit([&](const auto& method) { return PlanTensors(at, method); }, plan.method));
  if (plan.labels == 0) return ParamLayout::Make(std::move(tensors));
  for (const HeadLayer& layer : HeadLayers(plan.base, plan.labels)) AddHead(plan.method, layer, tensors);
  return ParamLayout::Make(std::move(tensors));
}

}  // namespace fedpeft
