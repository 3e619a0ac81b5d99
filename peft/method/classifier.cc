#include "peft/method/classifier.h"

#include <torch/torch.h>

namespace fedpeft {

namespace {

torch::Tensor Activated(HeadLayer::Activation activation, const torch::Tensor& x) {
  switch (activation) {
    case HeadLayer::Activation::kNone:
      return x;
    case HeadLayer::Activation::kTanh:
      return torch::tanh(x);
    case HeadLayer::Activation::kRelu:
      return torch::relu(x);
  }
  FEDPEFT_CHECK(false);
}

}  // namespace

PeftClassifier::PeftClassifier(const BaseModel& base, const PeftPlan& plan, const ParamLayout& layout,
                               const BoundParams& params)
    : base_(base), hook_(MakeHook(plan, layout, params.tensors(), params.rows())) {
  const auto rows =
      params.rows() != nullptr ? std::make_shared<const ExampleRows>(params.rows()->OfHead()) : params.rows();
  const auto tensor = [&](const HeadLayer& layer, const char* suffix) {
    const auto index = layout.Find(HeadName(plan.method, layer.path, suffix));
    FEDPEFT_CHECK(index.has_value());
    const torch::Tensor& found = params.tensors()[*index];
    return Trained(found, found.requires_grad() ? rows : nullptr);
  };
  for (const HeadLayer& layer : HeadLayers(plan.base, plan.labels)) {
    head_.push_back({layer, tensor(layer, "weight"), layer.bias ? tensor(layer, "bias") : Trained()});
  }
}

torch::Tensor PeftClassifier::Logits(const PackedBatch& batch, const ForwardMode& mode) const {
  torch::Tensor x = base_.Pool(batch, *hook_, mode).to(torch::kFloat32);
  for (const Layer& layer : head_) {
    if (layer.what.dropout) x = Dropout(x, mode.base_dropout, mode.generator);
    x = Activated(layer.what.activation, TrainedLinear(x, layer.weight, layer.bias));
  }
  return x;
}

}  // namespace fedpeft
