#include "privacy/mechanism/clipped_sum.h"

#include <algorithm>
#include <cmath>

#include "peft/core/check.h"
#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/draws.h"

namespace fedpeft::privacy {

namespace {

/// The noise's standard deviation is at most this many steps of the grid.
constexpr double kDeviationSteps = 0x1p27;
/// A sum without noise is at most this many steps; noise beyond does not happen.
constexpr double kSumSteps = 0x1p61;

}  // namespace

ClippedSum::ClippedSum(std::size_t size, const Setup& setup) : setup_(setup), sum_(size, 0) {
  FEDPEFT_CHECK(setup.clip > 0 && setup.noise_multiplier > 0 && setup.most > 0);
  const double by_noise = kDeviationSteps / (setup.noise_multiplier * setup.clip);
  const double by_sum = kSumSteps / (static_cast<double>(setup.most) * setup.clip);
  grid_ = static_cast<int>(std::floor(std::log2(std::min(by_noise, by_sum))));
}

void ClippedSum::Add(std::span<const float> vector) {
  FEDPEFT_CHECK(vector.size() == sum_.size());
  NormCounter norm;
  norm.Add(vector);
  if (norm.not_finite() > 0) {
    ++not_finite_;
    return;
  }
  clipped_ += norm.norm() > setup_.clip ? 1 : 0;
  const double scale = std::ldexp(ClipFactor(norm.norm(), setup_.clip), grid_);
  for (std::size_t i = 0; i < vector.size(); ++i) {
    sum_[i] += static_cast<std::int64_t>(static_cast<double>(vector[i]) * scale);
  }
}

void ClippedSum::Release(double denominator, std::size_t threads, RandomSource& random, std::span<float> out) {
  FEDPEFT_CHECK(out.size() == sum_.size());
  const DiscreteGaussian noise(std::ldexp(setup_.noise_multiplier * setup_.clip, grid_));
  const double scale = std::ldexp(1 / denominator, -grid_);
  DrawInParallel(sum_.size(), threads, random, [&](RandomBits& bits, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      out[i] = static_cast<float>(static_cast<double>(sum_[i] + noise.Draw(bits)) * scale);
    }
  });
  std::ranges::fill(sum_, 0);
}

}  // namespace fedpeft::privacy
