#include "configs/clip_groups.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "configs/views.h"
#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

/// The index of the group that names the part; behind the last for what none names.
std::size_t GroupOf(const std::vector<ClipGroupSpec>& groups, std::string_view part) {
  const auto found = std::ranges::find_if(
      groups, [part](const ClipGroupSpec& group) { return std::ranges::find(group.parts, part) != group.parts.end(); });
  return static_cast<std::size_t>(found - groups.begin());
}

/// What is left of the norm's square.
double RestOf(const std::vector<ClipGroupSpec>& groups) {
  double rest = 1;
  for (const ClipGroupSpec& group : groups) rest -= group.share;
  return rest;
}

/// Without stretches.
privacy::ClipGroups SharesOf(const std::vector<ClipGroupSpec>& groups) {
  privacy::ClipGroups divided;
  if (groups.empty()) return divided;
  for (const ClipGroupSpec& group : groups) divided.shares.push_back(group.share);
  divided.shares.push_back(std::max(RestOf(groups), 0.0));
  return divided;
}

}  // namespace

Status CheckClipGroups(const PrivacySpec& privacy, const ParamLayout& layout) {
  const std::vector<ClipGroupSpec>& groups = privacy.clip_groups;
  std::vector<std::string> parts;
  for (const ClipGroupSpec& group : groups) {
    if (group.parts.empty()) return InvalidArgument("got a group without parts, want some in each");
    parts.insert(parts.end(), group.parts.begin(), group.parts.end());
  }
  RETURN_IF_ERROR(CheckParts(layout, {{"parts", parts}}));
  const double rest = RestOf(groups);
  if (rest < -1e-9) return InvalidArgument("got shares of more than 1 together, want at most 1");
  const bool all = std::ranges::all_of(layout.tensors(), [&](const TensorSpec& tensor) {
    return !IsTrained(tensor.role) || GroupOf(groups, RoleName(tensor.role)) < groups.size();
  });
  if (all || rest > 1e-9) return OkStatus();
  return InvalidArgument("got shares of 1 together, want less: parts that no group names have what is left");
}

Result<privacy::ClipGroups> UpdateClipGroups(const RunSpec& run, std::uint32_t round) {
  const std::vector<ClipGroupSpec>& groups = run.privacy.clip_groups;
  privacy::ClipGroups divided = SharesOf(groups);
  if (groups.empty()) return divided;
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  for (const Segment& segment : views.Update(round).segments) {
    const TensorSpec& tensor = layout->tensors()[segment.tensor];
    divided.stretches.push_back({KeptSize(tensor, segment.ranks), GroupOf(groups, RoleName(tensor.role))});
  }
  return divided;
}

privacy::ClipGroups GradientClipGroups(const PrivacySpec& privacy, const ParamLayout& layout, const ViewSpec& view) {
  privacy::ClipGroups divided = SharesOf(privacy.clip_groups);
  for (std::size_t i = 0; i < view.train.size() && !divided.shares.empty(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    if (view.train[i]) {
      divided.stretches.push_back(
          {static_cast<std::uint64_t>(tensor.size()), GroupOf(privacy.clip_groups, RoleName(tensor.role))});
    }
  }
  return divided;
}

}  // namespace fedpeft
