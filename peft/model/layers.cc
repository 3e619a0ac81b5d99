#include "peft/model/layers.h"

#include <torch/torch.h>

#include "peft/core/check.h"

namespace fedpeft {

torch::Tensor FrozenLinear::operator()(const torch::Tensor& x) const {
  return int8.defined() ? Int8Linear(x, int8, bias) : torch::linear(x, weight, bias);
}

torch::Tensor FrozenNorm::operator()(const torch::Tensor& x) const {
  if (bias.defined()) return torch::layer_norm(x, {x.size(-1)}, weight, bias, epsilon, /*cudnn_enable=*/false);
  return weight * Unit(x);
}

torch::Tensor FrozenNorm::Unit(const torch::Tensor& x) const {
  if (bias.defined()) return torch::layer_norm(x, {x.size(-1)}, {}, {}, epsilon, /*cudnn_enable=*/false);
  const torch::Tensor wide = x.to(torch::kFloat32);
  const torch::Tensor unit = wide * torch::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + epsilon);
  return unit.to(x.scalar_type());
}

torch::Tensor Activate(Activation activation, const torch::Tensor& x) {
  switch (activation) {
    case Activation::kGelu:
      return torch::gelu(x, "none");
    case Activation::kGeluNew:
      return torch::gelu(x, "tanh");
    case Activation::kRelu:
      return torch::relu(x);
    case Activation::kSilu:
      return torch::silu(x);
  }
  FEDPEFT_CHECK(false);
}

torch::Tensor Dropout(const torch::Tensor& x, double p, const torch::Generator& generator) {
  if (p == 0) return x;
  const torch::Tensor kept = torch::empty_like(x, x.options().requires_grad(false)).bernoulli_(1 - p, generator);
  return x * kept.div_(1 - p);
}

}  // namespace fedpeft
