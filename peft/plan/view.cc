// Views: what of a layout a round trains and shares, by parts and layers.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

bool Contains(const std::vector<std::string>& parts, std::string_view part) {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

Status CheckHead(const PeftPlan& plan, const std::vector<PartList>& lists) {
  for (const auto& [key, list] : lists) {
    if (plan.head == HeadPolicy::kShared || !Contains(list, RoleName(Role::kHead))) continue;
    return InvalidArgument(key + ": got \"" + std::string(RoleName(Role::kHead)) +
                           "\", want no word of it beside peft.head, which settles that for all rounds");
  }
  return OkStatus();
}

/// The key that keeps a part from being shared.
std::string UnsharingKey(const ViewConfig& config, std::string_view part) {
  return Contains(config.local, part) ? "local" : Contains(config.frozen, part) ? "frozen" : "layers";
}

/// Ranks are chosen among all of a method's by what everybody shares.
Status CheckRanks(const ParamLayout& layout, const ViewSpec& view, const ViewConfig& config) {
  const std::vector<TensorSpec>& specs = layout.tensors();
  const bool ranked =
      std::any_of(specs.begin(), specs.end(), [](const TensorSpec& spec) { return spec.role == Role::kRankMask; });
  for (std::size_t i = 0; ranked && i < specs.size(); ++i) {
    if (view.share[i] || specs[i].role == Role::kHead || !IsTrained(specs[i].role)) continue;
    const std::string part(RoleName(specs[i].role));
    return InvalidArgument(UnsharingKey(config, part) + ": leaves " + part +
                           " unshared, want all parts of a method that chooses its ranks shared in every round");
  }
  return OkStatus();
}

/// Layer of each site. What spans the layers, or stands before them, is in none.
std::map<std::string, int> LayersOf(const BaseShape& base) {
  const BaseSites sites = SitesOf(base);
  std::map<std::string, int> layers;
  const auto add = [&](const auto& list) {
    for (const auto& site : list) {
      if (site.layer >= 0) layers[site.path] = site.layer;
    }
  };
  add(sites.linears);
  add(sites.norms);
  add(sites.sublayers);
  add(sites.attentions);
  return layers;
}

/// None: as LayersOf, and for what is of the head.
std::optional<std::size_t> LayerOf(const TensorSpec& spec, const std::map<std::string, int>& layers) {
  const bool spans = spec.role == Role::kPrefix || spec.role == Role::kEncoder;
  const auto found = spans ? layers.end() : layers.find(spec.site);
  if (found == layers.end()) return std::nullopt;
  return static_cast<std::size_t>(found->second);
}

/// Which of the method's tensors are at a site of one of the layers.
Result<std::vector<bool>> InLayers(const PeftPlan& plan, const ParamLayout& layout,
                                   const std::vector<std::int64_t>& layers) {
  for (const std::int64_t layer : layers) {
    if (layer >= 0 && layer < plan.base.num_hidden_layers) continue;
    return InvalidArgument("layers: got " + std::to_string(layer) + ", want 0 to " +
                           std::to_string(plan.base.num_hidden_layers - 1));
  }
  const std::map<std::string, int> layer_of = LayersOf(plan.base);
  std::vector<bool> inside;
  for (const TensorSpec& spec : layout.tensors()) {
    const std::optional<std::size_t> layer = LayerOf(spec, layer_of);
    inside.push_back(layer &&
                     std::find(layers.begin(), layers.end(), static_cast<std::int64_t>(*layer)) != layers.end());
  }
  if (std::find(inside.begin(), inside.end(), true) != inside.end()) return inside;
  return InvalidArgument("layers: " + DescribeMethod(plan.method) + " has no tensor in these layers alone");
}

}  // namespace

Status CheckParts(const ParamLayout& layout, const std::vector<PartList>& lists) {
  std::string known;
  std::set<std::string, std::less<>> parts, named;
  for (const TensorSpec& spec : layout.tensors()) {
    const std::string_view part = RoleName(spec.role);
    if (!IsTrained(spec.role) || !parts.emplace(part).second) continue;
    known.append(known.empty() ? "" : ", ").append(part);
  }
  for (const auto& [key, list] : lists) {
    for (const std::string& part : list) {
      const std::string got = key + ": got \"" + part + "\"";
      if (!parts.contains(part)) return InvalidArgument(got + ", want some of this method's parts: " + known);
      if (!named.insert(part).second) return InvalidArgument(got + " a second time, want each part once");
    }
  }
  return OkStatus();
}

ViewSpec PlanView(const PeftPlan& plan, const ParamLayout& layout) {
  ViewSpec view;
  for (const TensorSpec& spec : layout.tensors()) {
    const bool head = spec.role == Role::kHead, trained = IsTrained(spec.role);
    view.train.push_back(trained && (!head || plan.head != HeadPolicy::kFrozen));
    view.share.push_back(trained && (!head || plan.head == HeadPolicy::kShared));
  }
  return view;
}

Result<ViewSpec> PlanView(const PeftPlan& plan, const ParamLayout& layout, const ViewConfig& config) {
  const std::vector<PartList> lists = {{"local", config.local}, {"frozen", config.frozen}};
  RETURN_IF_ERROR(CheckParts(layout, lists));
  RETURN_IF_ERROR(CheckHead(plan, lists));
  ViewSpec view = PlanView(plan, layout);
  std::vector<bool> inside(layout.tensors().size(), true);
  if (!config.layers.empty()) {
    ASSIGN_OR_RETURN(inside, InLayers(plan, layout, config.layers));
  }
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const Role role = layout.tensors()[i].role;
    const std::string_view part = RoleName(role);
    const bool stays = Contains(config.frozen, part) || (role != Role::kHead && !inside[i]);
    if (stays) view.train[i] = false;
    if (stays || Contains(config.local, part)) view.share[i] = false;
  }
  RETURN_IF_ERROR(CheckRanks(layout, view, config));
  if (std::find(view.share.begin(), view.share.end(), true) != view.share.end()) return view;
  return InvalidArgument(std::string(config.frozen.empty() ? "local" : "frozen") +
                         ": nothing is left to share, want a part that is trained and not local");
}

UntrainedPart UntrainedBelow(const PeftPlan& plan, const ParamLayout& layout, const std::vector<bool>& train) {
  const std::map<std::string, int> layers = LayersOf(plan.base);
  const std::vector<TensorSpec>& specs = layout.tensors();
  UntrainedPart part{static_cast<std::size_t>(plan.base.num_hidden_layers), {}};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!train[i] || specs[i].role == Role::kHead) continue;
    part.layer = std::min(part.layer, LayerOf(specs[i], layers).value_or(0));
  }
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role != Role::kHead && LayerOf(specs[i], layers).value_or(0) < part.layer) part.tensors.push_back(i);
  }
  return part;
}

}  // namespace fedpeft
