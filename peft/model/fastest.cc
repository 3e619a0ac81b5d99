#include "peft/model/fastest.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <span>
#include <utility>
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
constexpr int kTurns = 8;
/// A few rows tell of a format without instructions for it, of which all rows may take seconds: so many times as long
/// as float32.
constexpr std::int64_t kFewRows = 8;
constexpr double kHopeless = 4;
/// How far hidden states in int8 may be off, relative to their size. A base that is off by 0.09 learns as it does in
/// float32 (tests/bench/formats.py); one whose activations bytes cannot hold is off by far more than this.
constexpr double kNearEnough = 0.15;

double SecondsOf(const FrozenLinear& linear, const Tensor& x) {
  const auto began = std::chrono::steady_clock::now();
  const Tensor y = linear(x);
  torch::autograd::grad({y}, {x}, {torch::ones_like(y)});
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

/// Each one's least of some times, taken in turns after one that makes kernels: others are of a processor that did
/// something else too.
std::vector<double> LeastSecondsOf(std::span<const FrozenLinear> linears, std::int64_t rows) {
  std::vector<Tensor> inputs;
  for (const FrozenLinear& linear : linears) {
    const auto options = torch::TensorOptions().dtype(linear.weight.scalar_type()).requires_grad(true);
    inputs.push_back(torch::ones({rows, linear.weight.size(1)}, options));
    SecondsOf(linear, inputs.back());
  }
  std::vector<double> least(linears.size(), kNever);
  for (int turn = 0; turn < kTurns; ++turn) {
    for (std::size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], SecondsOf(linears[i], inputs[i]));
  }
  return least;
}

}  // namespace

BaseDtype DtypeTimes::Fastest() const {
  constexpr double kWorthIt = 0.8;
  const double bytes = int8_error <= kNearEnough ? int8 : kNever;
  if (!(std::min(bytes, bfloat16) <= kWorthIt * float32)) return BaseDtype::kFloat32;
  return bytes < bfloat16 ? BaseDtype::kInt8 : BaseDtype::kBfloat16;
}

DtypeTimes MeasureDtypes(const BaseShape& shape) {
  const std::int64_t in = std::min(shape.hidden_size, kWidest), out = std::min(shape.intermediate_size, kWidest);
  const Tensor weight = torch::ones({out, in});
  const torch::AutoGradMode with_gradients(true);
  DtypeTimes times{kNever, kNever, kNever};
  std::vector<FrozenLinear> linears = {{weight, {}}, {weight.to(torch::kBFloat16), {}}};
  std::vector<double*> seconds = {&times.float32, &times.bfloat16};
  if (Int8IsExact()) {
    linears.push_back({weight, {}, ToInt8(weight)});
    seconds.push_back(&times.int8);
  }
  const std::vector<double> few = LeastSecondsOf(linears, kFewRows);
  for (std::size_t i = few.size() - 1; i > 0; --i) {
    if (few[i] <= kHopeless * few[0]) continue;
    linears.erase(linears.begin() + static_cast<std::ptrdiff_t>(i));
    seconds.erase(seconds.begin() + static_cast<std::ptrdiff_t>(i));
  }
  const std::vector<double> all = LeastSecondsOf(linears, kRows);
  for (std::size_t i = 0; i < all.size(); ++i) *seconds[i] = all[i];
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

Result<FastestBase> LoadFastestBase(const std::string& folder) {
  FastestBase base;
  ASSIGN_OR_RETURN(base.model, LoadBaseModel(folder, BaseDtype::kFloat32));
  base.times = MeasureDtypes(base.model->shape());
  if (base.times.Fastest() == BaseDtype::kInt8) {
    const std::shared_ptr<const BaseModel> exact = std::move(base.model);
    ASSIGN_OR_RETURN(base.model, LoadBaseModel(folder, BaseDtype::kInt8));
    base.times.int8_error = Int8Error(*exact, *base.model);
    if (base.times.Fastest() == BaseDtype::kFloat32) base.model = exact;
  }
  base.dtype = base.times.Fastest();
  if (base.dtype == BaseDtype::kBfloat16) {
    ASSIGN_OR_RETURN(base.model, LoadBaseModel(folder, BaseDtype::kBfloat16));
  }
  return base;
}

}  // namespace fedpeft
