#include "privacy/secagg/quantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <string>

#include "peft/core/bytes.h"
#include "peft/core/check.h"
#include "privacy/crypto/keystream.h"
#include "privacy/secagg/ring.h"

namespace fedpeft::privacy {

namespace {

constexpr std::size_t kPiece = 4096;

Status CheckBits(int bits) {
  if (bits >= kMinRingBits && bits <= kMaxRingBits) return OkStatus();
  return InvalidArgument("secure_aggregation.bits: got " + std::to_string(bits) + ", want " +
                         std::to_string(kMinRingBits) + " to " + std::to_string(kMaxRingBits));
}

/// Calls round(i, u) with u uniform on 32 bits in [0, 1), for all i below `count`.
template <typename Round>
void WithUniforms(std::size_t count, RandomSource& random, Round round) {
  Keystream stream(RandomSecret<32>(random));
  std::array<std::uint32_t, kPiece> words;
  for (std::size_t at = 0; at < count; at += kPiece) {
    const std::size_t piece = std::min(kPiece, count - at);
    stream.Read({reinterpret_cast<std::uint8_t*>(words.data()), piece * sizeof(std::uint32_t)});
    for (std::size_t i = 0; i < piece; ++i) round(at + i, static_cast<double>(words[i]) * 0x1p-32);
  }
}

}  // namespace

Result<std::int64_t> LargestLevel(const RingBudget& budget) {
  RETURN_IF_ERROR(CheckBits(budget.bits));
  std::uint64_t weight = 0;
  if (budget.max_contributions == 0 || budget.max_weight == 0) {
    return InvalidArgument("secure sum: want at least one contribution, of a weight of at least 1");
  }
  const std::uint64_t most = RingMask(budget.bits) / 2;
  if (!CheckedMul(budget.max_contributions, budget.max_weight, weight) || !CheckedAdd(weight, budget.noise, weight) ||
      weight > most) {
    return InvalidArgument("secure_aggregation.bits: got " + std::to_string(budget.bits) + ", which " +
                           std::to_string(budget.max_contributions) + " clients of weight " +
                           std::to_string(budget.max_weight) + (budget.noise > 0 ? " and their noise" : "") +
                           " would overflow (raise bits, or lower the cohort or reducer.max_weight)");
  }
  return static_cast<std::int64_t>(most / weight);
}

int ScaleExponent(std::int64_t level, double max_abs) {
  FEDPEFT_CHECK(level >= 1 && std::isfinite(max_abs) && max_abs > 0);
  const double ratio = static_cast<double>(level) / max_abs;
  int exponent = std::ilogb(ratio);
  while (std::ldexp(max_abs, exponent) > static_cast<double>(level)) --exponent;  // the division rounds
  return exponent;
}

Result<Quantizer> Quantizer::Make(const RingBudget& budget, int exponent) {
  ASSIGN_OR_RETURN(const std::int64_t level, LargestLevel(budget));
  return Quantizer(budget, level, exponent);
}

std::uint64_t Quantizer::Encode(std::span<const float> values, std::uint64_t weight, RandomSource& random,
                                std::span<std::uint32_t> elements) const {
  FEDPEFT_CHECK(values.size() == elements.size() && weight >= 1 && weight <= budget_.max_weight);
  const double scale = std::ldexp(1.0, exponent_);
  const auto level = static_cast<double>(level_);
  std::uint64_t saturated = 0;
  WithUniforms(values.size(), random, [&](std::size_t i, double uniform) {
    const double scaled = static_cast<double>(values[i]) * scale;
    saturated += std::fabs(scaled) > level;
    const double rounded = std::min(std::floor(std::clamp(scaled, -level, level) + uniform), level);
    elements[i] = static_cast<std::uint32_t>(static_cast<std::int64_t>(rounded) * static_cast<std::int64_t>(weight));
  });
  return saturated;
}

std::uint64_t Quantizer::EncodeWithin(std::span<const float> values, double max_norm, RandomSource& random,
                                      std::span<std::uint32_t> elements) const {
  while (true) {
    const std::uint64_t saturated = Encode(values, 1, random, elements);
    double squares = 0;
    for (const std::uint32_t element : elements) {
      const auto value = static_cast<double>(static_cast<std::int32_t>(element));
      squares += value * value;
    }
    if (squares <= max_norm * max_norm) return saturated;
  }
}

void Quantizer::Decode(std::span<const std::uint32_t> elements, std::span<std::int64_t> sums) const {
  FEDPEFT_CHECK(elements.size() == sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] = Centered(elements[i], budget_.bits);
}

double RoundedNorm(double clip, std::size_t size) {
  const auto d = static_cast<double>(size);
  const double worst = (clip + std::sqrt(d)) * (clip + std::sqrt(d));
  const double likely = clip * clip + d / 4 + (clip + std::sqrt(d) / 2);  // √(2 ln 1/β) is 1
  return std::sqrt(std::min(worst, likely));
}

Result<CounterCode> CounterCode::Make(const RingBudget& budget) {
  RETURN_IF_ERROR(CheckBits(budget.bits));
  const int bits =
      budget.bits - static_cast<int>(std::bit_width(std::max<std::uint64_t>(budget.max_contributions, 1) - 1));
  if (bits >= 1) return CounterCode(bits, budget.bits);
  return InvalidArgument("secure_aggregation.bits: got " + std::to_string(budget.bits) + ", want more for " +
                         std::to_string(budget.max_contributions) + " clients");
}

void CounterCode::Encode(std::int64_t number, std::span<std::uint32_t> elements) const {
  FEDPEFT_CHECK(elements.size() == limbs());
  auto rest = static_cast<std::uint64_t>(number);
  for (std::uint32_t& element : elements) {
    element = static_cast<std::uint32_t>(rest) & RingMask(bits_);
    rest >>= bits_;
  }
}

std::int64_t CounterCode::Decode(std::span<const std::uint32_t> elements) const {
  FEDPEFT_CHECK(elements.size() == limbs());
  std::uint64_t sum = 0;
  for (std::size_t i = elements.size(); i > 0; --i) sum = (sum << bits_) + (elements[i - 1] & RingMask(ring_bits_));
  return static_cast<std::int64_t>(sum);
}

}  // namespace fedpeft::privacy
