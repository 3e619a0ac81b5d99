#include "peft/method/classifier.h"

namespace fedpeft {

PeftClassifier::PeftClassifier(const BaseModel& base, const PeftPlan& plan, const ParamLayout& layout,
                               const BoundParams& params)
    : base_(base), hook_(plan, layout, params.tensors()) {
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& spec = layout.tensors()[i];
    if (spec.role != Role::kHead) continue;
    (spec.shape.size() == 2 ? head_weight_ : head_bias_) = params.tensors()[i];
  }
  FEDPEFT_CHECK(head_weight_.defined() && head_bias_.defined());
}

torch::Tensor PeftClassifier::Logits(const PackedBatch& batch, const ForwardMode& mode) const {
  const torch::Tensor pooled = base_.Pool(batch, hook_, mode);
  const torch::Tensor features = Dropout(pooled, mode.base_dropout, mode.generator);
  return torch::linear(features.to(head_weight_.scalar_type()), head_weight_, head_bias_);
}

}  // namespace fedpeft
