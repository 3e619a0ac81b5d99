// MakeHook: a method's arithmetic, as a function of the trained tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "peft/method/trained.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

/// Holds views of `tensors`, which are the values of `layout` in its order; with `rows`, those that want gradients are
/// copies for each example (trained.h). Pre: PlanLayout(plan) made the layout; with `rows`, CheckExampleGradients.
std::unique_ptr<const SiteHook> MakeHook(const PeftPlan& plan, const ParamLayout& layout,
                                         const std::vector<at::Tensor>& tensors,
                                         const std::shared_ptr<const ExampleRows>& rows = nullptr);

}  // namespace fedpeft
