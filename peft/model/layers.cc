#include "peft/model/layers.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "peft/core/check.h"
#include "peft/kernels/gelu.h"

namespace fedpeft {

namespace {

/// Numbers that take longer than it does to wake a thread.
constexpr std::int64_t kNumbersAtOnce = 1 << 16;

class GeluFunction : public torch::autograd::Function<GeluFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x) {
    const torch::Tensor input = x.contiguous();
    torch::Tensor y = torch::empty_like(input);
    context->save_for_backward({input});
    const auto* const from = input.const_data_ptr<float>();
    auto* const to = y.mutable_data_ptr<float>();
    at::parallel_for(0, input.numel(), kNumbersAtOnce, [&](std::int64_t begin, std::int64_t end) {
      GeluKernelsOfProcessor().front().forward(from + begin, end - begin, to + begin);
    });
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const torch::Tensor input = context->get_saved_variables()[0], gradient = gradients[0].contiguous();
    torch::Tensor result = torch::empty_like(input);
    const auto* const from = input.const_data_ptr<float>();
    const auto* const by = gradient.const_data_ptr<float>();
    auto* const to = result.mutable_data_ptr<float>();
    at::parallel_for(0, input.numel(), kNumbersAtOnce, [&](std::int64_t begin, std::int64_t end) {
      GeluKernelsOfProcessor().front().backward(from + begin, by + begin, end - begin, to + begin);
    });
    return {result};
  }
};

}  // namespace

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
      return x.scalar_type() == torch::kFloat32 ? GeluFunction::apply(x) : torch::gelu(x, "none");
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
