#include "privacy/noise/discrete_gaussian.h"

#include <cmath>

#include "peft/core/check.h"

namespace fedpeft::privacy {

namespace {

/// With probability e^(−numerator / denominator), numerator ≤ denominator: the parity of how many coins of γ/1, γ/2, …
/// in a row fall heads.
bool FlipExpBelowOne(Uint128 numerator, Uint128 denominator, RandomBits& bits) {
  for (std::uint64_t k = 1;; ++k) {
    const bool heads = (k == 1 || bits.Below(k) == 0) && bits.Below(denominator) < numerator;
    if (!heads) return k % 2 == 1;
  }
}

}  // namespace

bool FlipExp(Uint128 numerator, Uint128 denominator, RandomBits& bits) {
  for (; numerator > denominator; numerator -= denominator) {
    if (!FlipExpBelowOne(1, 1, bits)) return false;
  }
  return FlipExpBelowOne(numerator, denominator, bits);
}

int GridFor(double deviation) {
  return static_cast<int>(std::floor(std::log2(kMostDeviation / 2 / deviation)));
}

DiscreteGaussian::DiscreteGaussian(double deviation) {
  FEDPEFT_CHECK(deviation > 0 && deviation <= kMostDeviation);
  denominator_ = deviation < 1024 ? std::uint64_t{1} << 20 : 1;
  numerator_ = static_cast<std::uint64_t>(std::ceil(deviation * deviation * static_cast<double>(denominator_)));
  scale_ = static_cast<std::uint64_t>(deviation) + 1;
}

std::int64_t DiscreteGaussian::DrawLaplace(RandomBits& bits) const {
  while (true) {
    const auto rest = static_cast<std::uint64_t>(bits.Below(scale_));
    if (!FlipExpBelowOne(rest, scale_, bits)) continue;
    std::uint64_t whole = 0;
    while (FlipExpBelowOne(1, 1, bits)) ++whole;
    const std::uint64_t magnitude = rest + scale_ * whole;
    const bool negative = bits.Next() % 2 == 1;
    if (negative && magnitude == 0) continue;
    return negative ? -static_cast<std::int64_t>(magnitude) : static_cast<std::int64_t>(magnitude);
  }
}

std::int64_t DiscreteGaussian::Draw(RandomBits& bits) const {
  while (true) {
    const std::int64_t drawn = DrawLaplace(bits);
    const Uint128 magnitude = static_cast<std::uint64_t>(drawn < 0 ? -drawn : drawn);
    // e^(−(|y| − σ²/t)² / 2σ²) = e^(−(|y|·t·d − n)² / (2·n·d·t²)), σ² being n/d
    const Uint128 at = magnitude * scale_ * denominator_;
    const Uint128 distance = at > numerator_ ? at - numerator_ : numerator_ - at;
    if (distance >> 63 != 0) continue;  // less than e^−1000
    if (FlipExp(distance * distance, Uint128{2} * numerator_ * denominator_ * scale_ * scale_, bits)) return drawn;
  }
}

}  // namespace fedpeft::privacy
