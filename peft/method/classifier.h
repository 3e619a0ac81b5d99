// PeftClassifier: frozen base + method + classification head, as a function of the trained tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "peft/method/bound_params.h"
#include "peft/method/hook.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

/// Holds views of the tensors it is made from; cheap to make, one for every set of parameters.
class PeftClassifier {
 public:
  /// Pre: `params` binds the layout that PlanLayout(plan) made, plan.base is the base's shape, and all three outlive
  /// this object.
  PeftClassifier(const BaseModel& base, const PeftPlan& plan, const ParamLayout& layout, const BoundParams& params);

  /// Shapes: [B, labels] float32, in the caller's order of sequences.
  at::Tensor Logits(const PackedBatch& batch, const ForwardMode& mode = {}) const;

 private:
  struct Layer {
    HeadLayer what;
    /// [out, in]; [out], or undefined.
    Trained weight, bias;
  };

  const BaseModel& base_;
  std::unique_ptr<const SiteHook> hook_;
  std::vector<Layer> head_;
};

}  // namespace fedpeft
