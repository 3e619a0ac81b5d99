#include "aggregation/integer_sum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace fedpeft::aggregation {

namespace {

constexpr std::size_t kPieceElements = 16384;
constexpr std::uint64_t kMaxTotalWeight = std::uint64_t{1} << 53;

/// ⌈log2(x)⌉ of a positive finite x, exactly.
int CeilLog2(double x) {
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);
  return fraction == 0.5 ? exponent - 1 : exponent;
}

/// To the nearest integer, ties to even. Pre: |x| ≤ 2^51. In [2^52, 2^53) doubles are the integers, so the addition
/// rounds and the mantissa holds the result. Unlike llrint it vectorises on every x86-64 and aarch64.
std::int64_t RoundToInteger(double x) {
  constexpr double kShift = 0x1.8p52;
  return std::bit_cast<std::int64_t>(x + kShift) - std::bit_cast<std::int64_t>(kShift);
}

/// The largest float that is not beyond `bound`.
float FloatBelow(double bound) {
  if (bound >= static_cast<double>(std::numeric_limits<float>::max())) return std::numeric_limits<float>::max();
  const float nearest = static_cast<float>(bound);
  return static_cast<double>(nearest) <= bound ? nearest : std::nextafter(nearest, 0.0f);
}

/// Counts instead of leaving early, so that the loop has no branch. A NaN fails the comparison.
bool AllWithin(std::span<const float> values, float max_abs) {
  std::uint32_t beyond = 0;
  for (const float value : values) beyond += std::abs(value) <= max_abs ? 0u : 1u;
  return beyond == 0;
}

/// Pre: |value| · weight · scale ≤ 2^50 for each. `scale` is a power of two, so only value · weight can round.
void AddScaled(std::span<const float> values, double weight, double scale, std::span<std::int64_t> sums) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[i] += RoundToInteger(static_cast<double>(values[i]) * weight * scale);
  }
}

std::string Number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.9g", value);
  return text.data();
}

}  // namespace

Result<int> GridExponent(const SumSpec& spec) {
  if (!std::isfinite(spec.max_abs) || spec.max_abs <= 0) {
    return InvalidArgument("max_abs: got " + Number(spec.max_abs) + ", want a positive finite number");
  }
  std::uint64_t total_weight = 0;
  if (spec.max_weight == 0 || spec.max_contributions == 0 ||
      !CheckedMul(spec.max_weight, spec.max_contributions, total_weight) || total_weight > kMaxTotalWeight) {
    return InvalidArgument("max_weight: got " + std::to_string(spec.max_weight) + " for up to " +
                           std::to_string(spec.max_contributions) +
                           " contributions, want both positive and a product of at most 2^53 (lower max_weight)");
  }
  const int for_sum = 62 - CeilLog2(spec.max_abs * static_cast<double>(total_weight));
  const int for_value = 50 - CeilLog2(spec.max_abs * static_cast<double>(spec.max_weight));
  return std::min(for_sum, for_value);
}

Result<IntegerSum> IntegerSum::Make(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload,
                                    const SumSpec& spec) {
  IntegerSum sum;
  ASSIGN_OR_RETURN(sum.exponent_, GridExponent(spec));
  std::size_t begin = 0;
  for (const Segment& segment : payload.segments) {
    const TensorSpec& tensor = layout->tensors()[segment.tensor];
    if (!(segment.max_abs > 0 && segment.max_abs <= spec.max_abs)) {
      return InvalidArgument("tensor \"" + tensor.name + "\": may hold up to " + Number(segment.max_abs) +
                             ", want a positive bound of at most the sum's max_abs " + Number(spec.max_abs));
    }
    const std::size_t end = begin + KeptSize(tensor, segment.ranks);
    sum.bounds_.push_back({segment.tensor, begin, end, FloatBelow(segment.max_abs)});
    begin = end;
  }
  FEDPEFT_CHECK(begin == payload.size);
  sum.layout_ = std::move(layout);
  sum.spec_ = spec;
  sum.values_.resize(payload.size);
  return sum;
}

Status IntegerSum::Add(ByteSpan update, std::uint64_t weight) {
  const auto reader = [update](std::uint64_t offset, MutableByteSpan out) {
    std::memcpy(out.data(), update.data() + offset, out.size());
    return OkStatus();
  };
  return Add(update.size(), reader, weight);
}

Status IntegerSum::Add(std::uint64_t length, const UpdateReader& reader, std::uint64_t weight) {
  RETURN_IF_ERROR(CheckOffer(length, weight));
  RETURN_IF_ERROR(Walk(reader, 0));
  if (Status added = Walk(reader, weight); !added.ok()) {
    spoiled_ = true;
    return DataLoss("update: could not be read a second time: " + added.message() + " (repeat the attempt)");
  }
  total_weight_ += weight;
  ++contributions_;
  return OkStatus();
}

Status IntegerSum::CheckOffer(std::uint64_t length, std::uint64_t weight) const {
  if (spoiled_) return DataLoss("sum: holds half an update since a read failed (repeat the attempt)");
  const std::uint64_t want = values_.size() * sizeof(float);
  if (length != want) {
    return InvalidArgument("update: got " + std::to_string(length) + " bytes, want " + std::to_string(want));
  }
  if (weight == 0 || weight > spec_.max_weight) {
    return InvalidArgument("update: got weight " + std::to_string(weight) + ", want 1 to " +
                           std::to_string(spec_.max_weight));
  }
  if (contributions_ >= spec_.max_contributions) {
    return ResourceExhausted("sum: got update " + std::to_string(contributions_ + 1) + ", want at most " +
                             std::to_string(spec_.max_contributions) + " (max_contributions fixes the grid)");
  }
  return OkStatus();
}

Status IntegerSum::Walk(const UpdateReader& reader, std::uint64_t weight) {
  const double scale = std::ldexp(1.0, exponent_);
  std::vector<float> buffer(std::min(kPieceElements, values_.size()));
  for (std::size_t begin = 0; begin < values_.size(); begin += buffer.size()) {
    const std::span<float> piece = std::span(buffer).first(std::min(buffer.size(), values_.size() - begin));
    RETURN_IF_ERROR(reader(begin * sizeof(float), {reinterpret_cast<std::uint8_t*>(piece.data()), piece.size_bytes()}));
    // Also before adding: the grid's bounds must hold for the bytes that are added, not for those read before.
    RETURN_IF_ERROR(CheckPiece(piece, begin));
    if (weight > 0)
      AddScaled(piece, static_cast<double>(weight), scale, std::span(values_).subspan(begin, piece.size()));
  }
  return OkStatus();
}

Status IntegerSum::CheckPiece(std::span<const float> piece, std::size_t begin) const {
  const std::size_t end = begin + piece.size();
  auto bound = std::upper_bound(bounds_.begin(), bounds_.end(), begin,
                                [](std::size_t element, const Bound& candidate) { return element < candidate.end; });
  for (; bound != bounds_.end() && bound->begin < end; ++bound) {
    const std::size_t first = std::max(begin, bound->begin);
    const std::span<const float> run = piece.subspan(first - begin, std::min(end, bound->end) - first);
    if (AllWithin(run, bound->max_abs)) continue;
    const auto bad = std::find_if_not(run.begin(), run.end(), [&](float v) { return std::abs(v) <= bound->max_abs; });
    return Refusal(*bound, first + static_cast<std::size_t>(bad - run.begin()), *bad);
  }
  return OkStatus();
}

Status IntegerSum::Refusal(const Bound& bound, std::size_t element, float value) const {
  const TensorSpec& tensor = layout_->tensors()[bound.tensor];
  return InvalidArgument("update: tensor \"" + tensor.name + "\" of shape " + ShapeText(tensor.shape) + " has " +
                         Number(static_cast<double>(value)) + " at element " + std::to_string(element - bound.begin) +
                         ", want finite values of at most " + Number(static_cast<double>(bound.max_abs)));
}

}  // namespace fedpeft::aggregation
