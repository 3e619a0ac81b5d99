#include "peft/model/fastest.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "peft/model/layers.h"

namespace fedpeft {

namespace {

using torch::Tensor;

constexpr double kNever = std::numeric_limits<double>::infinity();
/// Rows of a training step of short texts; and what is wider takes as long a number.
constexpr std::int64_t kRows = 256, kWidest = 2048;
constexpr int kTimes = 5;
/// After so many times as long as float32 once, a format is not tried again.
constexpr double kHopeless = 2;

double SecondsOf(const FrozenLinear& linear, const Tensor& x) {
  const auto began = std::chrono::steady_clock::now();
  const Tensor y = linear(x);
  torch::autograd::grad({y}, {x}, {torch::ones_like(y)});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// The least of some times: others are of a processor that did something else too.
double LeastSecondsOf(const FrozenLinear& linear, const Tensor& x, double float32) {
  const Tensor input = x.to(linear.weight.scalar_type()).requires_grad_(true);
  SecondsOf(linear, input);  // makes kernels
  double least = kNever;
  for (int i = 0; i < kTimes && (i == 0 || least < kHopeless * float32); ++i) {
    least = std::min(least, SecondsOf(linear, input));
  }
  return least;
}

}  // namespace

BaseDtype DtypeTimes::Fastest() const {
  constexpr double kWorthIt = 0.8;
  const bool narrow_is_bytes = int8 < bfloat16;
  if (std::min(int8, bfloat16) > kWorthIt * float32) return BaseDtype::kFloat32;
  return narrow_is_bytes ? BaseDtype::kInt8 : BaseDtype::kBfloat16;
}

DtypeTimes MeasureDtypes(const BaseShape& shape) {
  const std::int64_t in = std::min(shape.hidden_size, kWidest), out = std::min(shape.intermediate_size, kWidest);
  const Tensor x = torch::ones({kRows, in}), weight = torch::ones({out, in});
  const torch::AutoGradMode with_gradients(true);
  DtypeTimes times;
  times.float32 = LeastSecondsOf({weight, {}}, x, kNever);
  times.bfloat16 = LeastSecondsOf({weight.to(torch::kBFloat16), {}}, x, times.float32);
  times.int8 = Int8IsExact() ? LeastSecondsOf({weight, {}, ToInt8(weight)}, x, times.float32) : kNever;
  return times;
}

}  // namespace fedpeft
