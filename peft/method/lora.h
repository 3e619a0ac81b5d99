// LoRA on the linear sites of a base (Hu et al. 2021): y = W·x + b + s·B·A·dropout(x); and DoRA (Liu et al. 2024),
// which gives each row of W + s·B·A a trained length.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class LoraHook final : public SiteHook {
 public:
  /// What one site gets. Shapes: a [rank, in], b [out, rank]; undefined where nothing is attached.
  struct Branch {
    Trained a, b;
    double scale = 1;
    /// DoRA's length of each row, less that of the base's: [out]; else undefined.
    Trained magnitude;
    /// AdaLoRA's values between A and B: [rank]; else undefined.
    Trained e;
  };

  /// Pre: `tensors` are those that PlanLayout made for this method.
  LoraHook(const LoraConfig& lora, const BaseShape& base, const NamedTensors& tensors);
  LoraHook(const AdaLoraConfig& adalora, const BaseShape& base, const NamedTensors& tensors);
  /// Pre: one for each of the base's LinearSites.
  explicit LoraHook(std::vector<Branch> branches) : branches_(std::move(branches)) {}

  at::Tensor Linear(std::size_t site, const at::Tensor& x, const FrozenLinear& base,
                    const ForwardMode& mode) const override;

 private:
  std::vector<Branch> branches_;
};

/// What AdaLoRA adds to a loss: its γ times the mean over all A and B of ‖A·Aᵀ − I‖ and ‖Bᵀ·B − I‖ (Frobenius norms, as
/// peft 0.21 has them). Undefined for other methods. Shapes: scalar.
at::Tensor OrthogonalityLoss(const PeftPlan& plan, const ParamLayout& layout, const std::vector<at::Tensor>& tensors);

}  // namespace fedpeft
