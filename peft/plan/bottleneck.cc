#include <cmath>

#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"

namespace fedpeft {

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const BottleneckConfig& adapter) {
  if (adapter.size < 1 || adapter.size > at.base.hidden_size) {
    return InvalidArgument("peft.adapter.size: got " + std::to_string(adapter.size) + ", want 1 to " +
                           std::to_string(at.base.hidden_size) + " (base.hidden_size)");
  }
  if (!(std::isfinite(adapter.scale) && adapter.scale > 0)) {
    return InvalidArgument("peft.adapter.scale: got " + std::to_string(adapter.scale) + ", want a positive number");
  }
  std::vector<TensorSpec> tensors;
  for (const SublayerSite& site : at.sites.sublayers) {
    if (adapter.kind != BottleneckConfig::Kind::kHoulsby && !site.feed_forward) continue;
    const auto add = [&](const char* suffix, std::vector<std::int64_t> shape, InitLaw law) {
      tensors.push_back({PeftName(site.path, suffix), std::move(shape), Role::kAdapter, site.path, law});
    };
    // It starts as nothing: neurons of independent beginnings must not be averaged, so the seed makes one for all.
    add("adapter_down.weight", {adapter.size, site.width}, KaimingLaw(site.width));
    add("adapter_down.bias", {adapter.size}, {});
    add("adapter_up.weight", {site.width, adapter.size}, {});
    add("adapter_up.bias", {site.width}, {});
  }
  return tensors;
}

}  // namespace fedpeft
