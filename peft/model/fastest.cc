#include "peft/model/fastest.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "peft/core/random.h"
#include "peft/model/base_model.h"
#include "peft/model/layers.h"

namespace fedpeft {

namespace {

using torch::Tensor;

constexpr double kNever = std::numeric_limits<double>::infinity();
/// Rows of a training step of short texts; and what is wider takes as long a number.
constexpr std::int64_t kRows = 256, kWidest = 2048;
constexpr int kTimes = 8;
/// A few rows tell of a format without instructions for it, of which all rows may take seconds: so many times as long
/// as float32.
constexpr std::int64_t kFewRows = 8;
constexpr double kHopeless = 4;

double SecondsOf(const FrozenLinear& linear, const Tensor& x) {
  const auto began = std::chrono::steady_clock::now();
  const Tensor y = linear(x);
  torch::autograd::grad({y}, {x}, {torch::ones_like(y)});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// The least of some times, after one that makes kernels: others are of a processor that did something else too.
double LeastSecondsOf(const FrozenLinear& linear, std::int64_t rows) {
  const auto options = torch::TensorOptions().dtype(linear.weight.scalar_type()).requires_grad(true);
  const Tensor x = torch::ones({rows, linear.weight.size(1)}, options);
  SecondsOf(linear, x);
  double least = kNever;
  for (int i = 0; i < kTimes; ++i) least = std::min(least, SecondsOf(linear, x));
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
  const Tensor weight = torch::ones({out, in});
  const torch::AutoGradMode with_gradients(true);
  const FrozenLinear exact{weight, {}};
  const double few = LeastSecondsOf(exact, kFewRows);
  const auto seconds_of = [&](const FrozenLinear& linear) {
    return LeastSecondsOf(linear, kFewRows) > kHopeless * few ? kNever : LeastSecondsOf(linear, kRows);
  };
  DtypeTimes times;
  times.float32 = LeastSecondsOf(exact, kRows);
  times.bfloat16 = seconds_of({weight.to(torch::kBFloat16), {}});
  times.int8 = Int8IsExact() ? seconds_of({weight, {}, ToInt8(weight)}) : kNever;
  return times;
}

double Int8Error(const BaseModel& exact, const BaseModel& int8) {
  constexpr std::int64_t kTexts = 4, kLength = 32;
  RandomStream stream(1, "int8_error");
  std::vector<std::vector<std::int32_t>> texts(kTexts);
  std::vector<TokenSequence> sequences;
  const SequenceLimits& limits = exact.limits();
  for (auto& text : texts) {
    for (std::int64_t i = 0; i < std::min(kLength, limits.length); ++i) {
      text.push_back(static_cast<std::int32_t>(stream.NextBelow(static_cast<std::uint64_t>(limits.vocab))));
    }
    sequences.push_back({text, {}});
  }
  const torch::NoGradGuard constant;
  const PackedBatch batch = Pack(sequences, limits).value();
  const Tensor want = exact.Hidden(batch, SiteHook(), {}), got = int8.Hidden(batch, SiteHook(), {});
  return ((got - want).norm() / want.norm()).item<double>();
}

}  // namespace fedpeft
