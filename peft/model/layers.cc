#include "peft/model/layers.h"

namespace fedpeft {

Result<Activation> ActivationOf(const std::string& name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluNew;
  if (name == "relu") return Activation::kRelu;
  return Unimplemented("hidden_act: got \"" + name + "\", want gelu, gelu_new, gelu_pytorch_tanh or relu");
}

torch::Tensor Activate(Activation activation, const torch::Tensor& x) {
  switch (activation) {
    case Activation::kGelu:
      return torch::gelu(x, "none");
    case Activation::kGeluNew:
      return torch::gelu(x, "tanh");
    case Activation::kRelu:
      return torch::relu(x);
  }
  FEDPEFT_CHECK(false);
}

torch::Tensor Dropout(const torch::Tensor& x, double p, const torch::Generator& generator) {
  if (p == 0) return x;
  const torch::Tensor kept = torch::empty_like(x, x.options().requires_grad(false)).bernoulli_(1 - p, generator);
  return x * kept.div_(1 - p);
}

}  // namespace fedpeft
