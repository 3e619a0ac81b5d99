#include "privacy/accounting/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "privacy/accounting/bisect.h"

namespace fedpeft::privacy {

namespace {

/// ln Φ(x).
double LogNormalCdf(double x) {
  if (x > -30) return std::log(0.5 * std::erfc(-x / std::numbers::sqrt2));
  const double y = 1 / (x * x);  // the tail's expansion; erfc underflows there
  return -0.5 * x * x - std::log(-x) - 0.5 * std::log(2 * std::numbers::pi) + std::log1p(-y + 3 * y * y);
}

}  // namespace

double GaussianDelta(double noise_multiplier, double epsilon) {
  const double half = 0.5 / noise_multiplier, shift = epsilon * noise_multiplier;
  const double above = LogNormalCdf(half - shift);
  return std::max(0.0, -std::exp(above) * std::expm1(epsilon + LogNormalCdf(-half - shift) - above));
}

double GaussianEpsilon(double noise_multiplier, double delta) {
  const auto enough = [&](double epsilon) { return GaussianDelta(noise_multiplier, epsilon) <= delta; };
  return enough(0) ? 0 : SmallestFrom(0, 1, enough);
}

double GaussianNoise(double epsilon, double delta) {
  return SmallestFrom(0, 1, [&](double noise) { return GaussianDelta(noise, epsilon) <= delta; });
}

}  // namespace fedpeft::privacy
