// (IA)³ on the linear sites of a base (Liu et al. 2022): y = l ∘ (W·x + b), or y = W·(l ∘ x) + b.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class Ia3Hook final : public SiteHook {
 public:
  /// Pre: `tensors` are those that PlanLayout made for this method.
  Ia3Hook(const Ia3Config& ia3, const BaseShape& base, const NamedTensors& tensors);

  at::Tensor Linear(std::size_t site, const at::Tensor& x, const FrozenLinear& base,
                    const ForwardMode& mode) const override;

 private:
  struct Factors {
    /// Undefined where nothing is attached.
    Trained values;
    bool scales_input = false;
  };
  std::vector<Factors> factors_;
};

}  // namespace fedpeft
