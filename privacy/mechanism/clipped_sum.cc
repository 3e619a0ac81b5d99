#include "privacy/mechanism/clipped_sum.h"

#include <algorithm>
#include <cmath>
#include <utility>

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

ClippedSum::ClippedSum(std::size_t size, Setup setup) : setup_(std::move(setup)), sum_(size, 0) {
  FEDPEFT_CHECK(setup_.clip > 0 && setup_.noise_multiplier > 0 && setup_.most > 0);
  const double by_noise = kDeviationSteps / (setup_.noise_multiplier * setup_.clip);
  const double by_sum = kSumSteps / (static_cast<double>(setup_.most) * setup_.clip);
  grid_ = static_cast<int>(std::floor(std::log2(std::min(by_noise, by_sum))));
}

void ClippedSum::Add(std::span<const float> vector) {
  FEDPEFT_CHECK(vector.size() == sum_.size());
  VectorClip clip(setup_.clip, setup_.groups);
  clip.Measure(0, vector);
  if (clip.not_finite() > 0) {
    ++not_finite_;
    return;
  }
  clipped_ += clip.within() ? 0 : 1;
  std::size_t i = 0;
  clip.ForEach(0, vector, [&](std::span<const float> part, double factor) {
    const double scale = std::ldexp(factor, grid_);
    for (const float value : part) sum_[i++] += static_cast<std::int64_t>(static_cast<double>(value) * scale);
  });
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
