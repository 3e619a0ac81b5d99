// ClippedSum: vectors, each clipped to an L2 norm, summed with noise in proportion to that norm: the Gaussian
// mechanism, in whole numbers from the clipping on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "privacy/crypto/random_source.h"
#include "privacy/mechanism/clip.h"

namespace fedpeft::privacy {

class ClippedSum {
 public:
  struct Setup {
    /// The L2 norm that a vector is clipped to; > 0.
    double clip = 1;
    /// Standard deviation of the noise over `clip`; > 0.
    double noise_multiplier = 1;
    /// The most vectors that one sum can have.
    std::uint64_t most = 1;
    /// How `clip` is divided.
    ClipGroups groups = {};
  };
  ClippedSum(std::size_t size, Setup setup);

  /// Adds `vector`, clipped and rounded towards zero to the grid of the noise: by no more than `clip`. One that has a
  /// value that is not finite counts as zero. Pre: of `size` values; fewer than `most` since the last release.
  void Add(std::span<const float> vector);
  /// out = (sum + noise) / denominator, also of no vectors at all; the next sum begins. The noise is discrete Gaussian,
  /// drawn by up to `threads` threads.
  void Release(double denominator, std::size_t threads, RandomSource& random, std::span<float> out);

  /// Vectors beyond the norm, and vectors that were not finite, in all sums: never to be given out.
  std::uint64_t clipped() const { return clipped_; }
  std::uint64_t not_finite() const { return not_finite_; }
  /// Sums are whole multiples of 2^−grid().
  int grid() const { return grid_; }

 private:
  Setup setup_;
  int grid_;
  std::vector<std::int64_t> sum_;
  std::uint64_t clipped_ = 0, not_finite_ = 0;
};

}  // namespace fedpeft::privacy
