#include "peft/model/int8_linear.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "peft/kernels/int8_rows.h"

namespace fedpeft {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Numbers that take longer than it does to wake a thread.
constexpr std::int64_t kNumbersAtOnce = 1 << 18;
constexpr const char* kHasBias = "has_bias";

struct Int8Matrix {
  Tensor bytes;
  /// What a byte of each row is worth.
  Tensor worth;
};

/// Of m numbers each.
std::int64_t RowsAtOnce(std::int64_t m) {
  return std::max<std::int64_t>(1, kNumbersAtOnce / m);
}

const float* DataOf(const Tensor& values) {
  return values.defined() ? values.const_data_ptr<float>() : nullptr;
}

/// Columns times `by` first, unless undefined. Shapes: x [n, m], by [m].
Int8Matrix Quantise(const Tensor& x, const Tensor& by) {
  const Int8Rows& rows = Int8RowsOfProcessor().front();
  const std::int64_t n = x.size(0), m = x.size(1);
  const Tensor input = x.contiguous();
  Int8Matrix result{torch::empty({n, m}, torch::kInt8), torch::empty({n}, torch::kFloat32)};
  const float* const from = DataOf(input);
  auto* const to = result.bytes.mutable_data_ptr<std::int8_t>();
  auto* const worth = result.worth.mutable_data_ptr<float>();
  at::parallel_for(0, n, RowsAtOnce(m), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) worth[i] = rows.quantise(from + i * m, DataOf(by), m, to + i * m);
  });
  return result;
}

/// x·w, columns times `scales` and plus `bias` unless undefined. Shapes: x [n, k], w [k, m] of bytes, and [m].
Tensor Product(const Int8Matrix& x, const Tensor& w, const Tensor& scales, const Tensor& bias) {
  const Int8Rows& rows = Int8RowsOfProcessor().front();
  const Tensor sums = at::_int_mm(x.bytes, w);
  const std::int64_t n = sums.size(0), m = sums.size(1);
  Tensor result = torch::empty({n, m}, torch::kFloat32);
  const auto* const from = sums.const_data_ptr<std::int32_t>();
  const float* const worth = DataOf(x.worth);
  auto* const to = result.mutable_data_ptr<float>();
  at::parallel_for(0, n, RowsAtOnce(m), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      rows.widen(from + i * m, worth[i], DataOf(scales), DataOf(bias), m, to + i * m);
    }
  });
  return result;
}

class Int8Function : public torch::autograd::Function<Int8Function> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& values, const Tensor& scales,
                        const std::optional<Tensor>& bias) {
    context->save_for_backward({values, scales});
    context->saved_data[kHasBias] = bias.has_value();
    return Product(Quantise(x, {}), values.t(), scales, bias.value_or(Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const Tensor& gradient = gradients[0];
    const variable_list saved = context->get_saved_variables();
    const Tensor &values = saved[0], &scales = saved[1];
    // Σ_o g_o·scale_o·value_oi: the scales belong to what is summed over, and go into the bytes of g.
    variable_list results(4);
    if (context->needs_input_grad(0)) results[0] = Product(Quantise(gradient, scales), values, {}, {});
    if (context->saved_data[kHasBias].toBool() && context->needs_input_grad(3)) results[3] = gradient.sum(0);
    return results;
  }
};

}  // namespace

Int8Weight ToInt8(const Tensor& weight) {
  Int8Matrix rows = Quantise(weight.to(torch::kFloat32), {});
  return {std::move(rows.bytes), std::move(rows.worth)};
}

Tensor Int8Linear(const Tensor& x, const Int8Weight& weight, const Tensor& bias) {
  TORCH_CHECK(x.dim() == 2 && x.scalar_type() == torch::kFloat32 && (!bias.defined() || bias.is_contiguous()),
              "int8 linear: x ", x.sizes(), " of ", x.scalar_type());
  return Int8Function::apply(x, weight.values, weight.scales, bias.defined() ? std::optional(bias) : std::nullopt);
}

bool Int8IsExact() {
  constexpr std::int64_t kTerms = 256, kMost = 127;
  const Tensor most = torch::full({kTerms, kTerms}, kMost, torch::kInt8);
  for (const Tensor& other : {most, most.neg()}) {
    const Tensor sums = at::_int_mm(other, most.t());
    const std::int64_t want = kTerms * kMost * other[0][0].item<std::int64_t>();
    if (!sums.eq(want).all().item<bool>()) return false;
  }
  return true;
}

}  // namespace fedpeft
