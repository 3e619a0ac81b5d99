// LoRA on the linear sites of a base (Hu et al. 2021): y = W·x + b + (alpha / rank)·B·A·dropout(x).
#pragma once

#include <torch/torch.h>

#include <vector>

#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class LoraHook final : public SiteHook {
 public:
  /// What one site gets. Shapes: a [rank, in], b [out, rank]; undefined where nothing is attached.
  struct Branch {
    torch::Tensor a, b;
    /// alpha / rank.
    double scale = 1;
  };

  /// Pre: `tensors` are the values of `layout`, in its order, which PlanLayout(plan) made.
  LoraHook(const PeftPlan& plan, const ParamLayout& layout, const std::vector<torch::Tensor>& tensors);
  /// Pre: one for each of the base's LinearSites.
  explicit LoraHook(std::vector<Branch> branches) : branches_(std::move(branches)) {}

  torch::Tensor Linear(std::size_t site, const torch::Tensor& x, const FrozenLinear& base,
                       const ForwardMode& mode) const override;

 private:
  std::vector<Branch> branches_;
};

}  // namespace fedpeft
