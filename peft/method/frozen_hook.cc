#include "peft/method/frozen_hook.h"

#include "peft/method/bound_params.h"
#include "peft/method/hook.h"

namespace fedpeft {

std::shared_ptr<const SiteHook> MakeFrozenHook(const PeftPlan& plan, const ParamVector& params) {
  return MakeHook(plan, *params.layout(), BoundParams(params).tensors());
}

}  // namespace fedpeft
