// Discrete Gaussian noise: whole numbers x with chances in proportion to e^(−x² / 2σ²), drawn exactly: by integers and
// coin flips alone, so that no rounding of a float tells anything (Mironov 2012).
#pragma once

#include <cstdint>

#include "privacy/noise/random_bits.h"

namespace fedpeft::privacy {

/// The largest deviation that can be drawn.
inline constexpr double kMostDeviation = 0x1p28;

/// The finest grid 2^−e on which that deviation is at most 2^27 steps.
int GridFor(double deviation);

class DiscreteGaussian {
 public:
  /// Of this standard deviation, in (0, kMostDeviation], or a little more: the variance is rounded up to a fraction.
  explicit DiscreteGaussian(double deviation);
  /// Source: Canonne, Kamath and Steinke 2020, algorithm 3.
  std::int64_t Draw(RandomBits& bits) const;
  double variance() const { return static_cast<double>(numerator_) / static_cast<double>(denominator_); }

 private:
  std::int64_t DrawLaplace(RandomBits& bits) const;

  // Of the variance.
  std::uint64_t numerator_, denominator_;
  /// Of the discrete Laplace noise that draws are taken from: ⌊σ⌋ + 1.
  std::uint64_t scale_;
};

/// True with probability e^(−numerator / denominator), exactly. Pre: denominator ≥ 1.
bool FlipExp(Uint128 numerator, Uint128 denominator, RandomBits& bits);

}  // namespace fedpeft::privacy
