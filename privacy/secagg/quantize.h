// Real updates as ring elements: a grid of a power of two, stochastic rounding, integer weights, and a range that no
// sum of honest clients leaves. Numbers that are counted (examples, weights, losses) ride in the same vector as limbs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"

namespace fedpeft::privacy {

/// What fixes the range of one client's value in a sum.
struct RingBudget {
  /// Of an element, kMinRingBits to kMaxRingBits.
  int bits = 24;
  /// The most clients in a sum: the cohort's cap, not how many come.
  std::uint64_t max_contributions = 1;
  /// The largest weight of one.
  std::uint64_t max_weight = 1;
  /// Beside them: as many largest values as noise may add up to.
  std::uint64_t noise = 0;
};

/// The largest |q| that max_contributions clients of max_weight may all add without leaving the ring:
/// ⌊(2^(bits−1) − 1) / (max_contributions · max_weight + noise)⌋. Errors: kInvalidArgument when that is 0, or a bound
/// is.
Result<std::int64_t> LargestLevel(const RingBudget& budget);

/// The finest grid 2^−e on which `max_abs` is not beyond `level`: e = ⌊log2(level / max_abs)⌋.
/// Pre: level ≥ 1; max_abs is positive and finite.
int ScaleExponent(std::int64_t level, double max_abs);

class Quantizer {
 public:
  /// Values go on the grid 2^−exponent. Errors: LargestLevel's.
  static Result<Quantizer> Make(const RingBudget& budget, int exponent);

  /// elements[i] = weight · ⌊values[i] · 2^exponent + u⌋ mod 2^32, u uniform in [0, 1): the value on average, and at
  /// most one step off. A value beyond the range counts as its end. Gives how many are. Pre: as many elements; 1 ≤
  /// weight ≤ max_weight; no value is NaN.
  std::uint64_t Encode(std::span<const float> values, std::uint64_t weight, RandomSource& random,
                       std::span<std::uint32_t> elements) const;
  /// The same of weight 1, rounded again until the L2 norm of what is sent is at most `max_norm`, in units of a step.
  /// Pre: RoundedNorm gave max_norm for the norm of the values, so that one in a few tries is.
  std::uint64_t EncodeWithin(std::span<const float> values, double max_norm, RandomSource& random,
                             std::span<std::uint32_t> elements) const;
  /// Sums on the grid as numbers, of elements that came from all clients.
  void Decode(std::span<const std::uint32_t> elements, std::span<std::int64_t> sums) const;

  std::int64_t level() const { return level_; }
  int exponent() const { return exponent_; }

 private:
  Quantizer(const RingBudget& budget, std::int64_t level, int exponent)
      : budget_(budget), level_(level), exponent_(exponent) {}
  RingBudget budget_;
  std::int64_t level_;
  int exponent_;
};

/// The L2 norm that rounding leaves a vector of `size` values of norm `clip` within, with a chance of at least 1 − β a
/// try; values in units of a step. Source: Kairouz et al. 2021 (2102.06387), proposition 22, as in privacy accounting:
/// min{(c + √d)², c² + d/4 + √(2 ln 1/β) (c + √d/2)}^½, β = e^−½.
double RoundedNorm(double clip, std::size_t size);

/// Numbers of 64 bits as limbs that sums of max_contributions do not overflow.
class CounterCode {
 public:
  /// Errors: kInvalidArgument when no bit is left for a limb.
  static Result<CounterCode> Make(const RingBudget& budget);
  /// Elements a number.
  std::size_t limbs() const { return (64 + static_cast<std::size_t>(bits_) - 1) / static_cast<std::size_t>(bits_); }
  /// Pre, here and below: limbs() elements.
  void Encode(std::int64_t number, std::span<std::uint32_t> elements) const;
  /// The sum of what was encoded, modulo 2^64.
  std::int64_t Decode(std::span<const std::uint32_t> elements) const;

 private:
  CounterCode(int bits, int ring_bits) : bits_(bits), ring_bits_(ring_bits) {}
  int bits_, ring_bits_;
};

}  // namespace fedpeft::privacy
