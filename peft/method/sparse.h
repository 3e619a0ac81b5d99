// Sparse tuning: some elements of the linears' weights are trained, as what is added to the base's.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class SparseHook final : public SiteHook {
 public:
  /// Pre: `tensors` are those that PlanLayout made for this method. Cost: draws the masks.
  SparseHook(const SparseConfig& sparse, const BaseShape& base, const NamedTensors& tensors);

  /// Cost: a copy of the weight, which the backward pass keeps.
  at::Tensor Linear(std::size_t site, const at::Tensor& x, const FrozenLinear& base,
                    const ForwardMode& mode) const override;

 private:
  /// Shapes: both [k]; where in the weight [out, in], row-major, and what is added there. Undefined where nothing is
  /// trained.
  struct Elements {
    at::Tensor at, values;
  };
  std::vector<Elements> elements_;
};

}  // namespace fedpeft
