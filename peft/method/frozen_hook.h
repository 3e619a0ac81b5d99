// A method as generation uses it: frozen, with the values of one set of parameters. Free of LibTorch's headers.
#pragma once

#include <memory>

#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class SiteHook;

/// Pre: `params` has the layout that PlanLayout(plan) made, and outlives the hook.
std::shared_ptr<const SiteHook> MakeFrozenHook(const PeftPlan& plan, const ParamVector& params);

}  // namespace fedpeft
