#include "privacy/noise/skellam.h"

#include <cmath>
#include <numbers>

#include "peft/core/check.h"

namespace fedpeft::privacy {

namespace {

/// ln of the chance of k ≥ 0 where the mean is m ≥ 10, without the cancellation of large terms: by Stirling's series,
/// and k·ln(k/m) + m − k as a series where k is near m. Source: Loader 2000.
double LogPoisson(double k, double mean) {
  if (k < 10) return k * std::log(mean) - mean - std::lgamma(k + 1);
  const double x = (k - mean) / mean;
  const double deviance = std::abs(x) < 1e-2
                              ? x * x * (1.0 / 2 - x * (1.0 / 6 - x * (1.0 / 12 - x * (1.0 / 20 - x / 30))))
                              : (1 + x) * std::log1p(x) - x;
  return -mean * deviance - 0.5 * std::log(2 * std::numbers::pi * k) - 1 / (12 * k) + 1 / (360 * k * k * k);
}

}  // namespace

Skellam::Skellam(double variance) : mean_(variance / 2) {
  FEDPEFT_CHECK(variance > 0 && variance <= 0x1p56);
}

std::int64_t Skellam::DrawPoisson(RandomBits& bits) const {
  if (mean_ < 10) {
    const double end = std::exp(-mean_);
    std::int64_t count = 0;
    for (double product = bits.Fraction(); product > end; product *= bits.Fraction()) ++count;
    return count;
  }
  const double b = 0.931 + 2.53 * std::sqrt(mean_), a = -0.059 + 0.02483 * b;
  const double inverse = 1.1239 + 1.1328 / (b - 3.4), squeeze = 0.9277 - 3.6224 / (b - 2);
  while (true) {
    const double u = bits.Fraction() - 0.5, v = 1 - bits.Fraction();
    const double distance = 0.5 - std::abs(u);
    if (distance == 0) continue;
    const double count = std::floor((2 * a / distance + b) * u + mean_ + 0.43);
    if (distance >= 0.07 && v <= squeeze) return static_cast<std::int64_t>(count);
    if (count < 0 || (distance < 0.013 && v > distance)) continue;
    const double log_bound = std::log(v * inverse / (a / (distance * distance) + b));
    if (log_bound <= LogPoisson(count, mean_)) return static_cast<std::int64_t>(count);
  }
}

}  // namespace fedpeft::privacy
