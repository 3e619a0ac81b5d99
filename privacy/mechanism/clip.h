// Clipping: how far a client's vector may reach, so that noise in proportion to that hides whether it is there; and a
// clip norm that follows the clients' norms without telling them.
#pragma once

#include <cstdint>
#include <span>

#include "peft/core/status.h"

namespace fedpeft::privacy {

/// Of values that come in pieces. What is not finite counts as zero.
class NormCounter {
 public:
  void Add(std::span<const float> piece);
  double norm() const;
  /// How many values were not finite.
  std::uint64_t not_finite() const { return not_finite_; }

 private:
  double squares_ = 0;
  std::uint64_t not_finite_ = 0;
};

/// What a vector of that norm is to be multiplied with to have at most `clip` (> 0): 1 where it has. A little less than
/// the quotient, by as much as rounding to float32 could add.
double ClipFactor(double norm, double clip);

/// Multiplies by a factor in [0, 1], zeroes what is not finite, and rounds towards zero to whole multiples of
/// 2^−exponent: no norm grows.
void ClipPiece(std::span<float> piece, double factor, int exponent);

/// A clip norm that moves to a quantile of the clients' norms. Source: Andrew et al. 2021.
struct AdaptiveClip {
  /// The share of clients that is to be within the norm, in (0, 1).
  double quantile = 0.5;
  /// How fast it moves: a round changes it by a factor of at most e^rate.
  double rate = 0.2;
  /// Standard deviation of the noise on the number of clients within the norm, > 0.
  double count_noise = 1;

  /// The next round's norm, `within` being the noised share of clients that were within this one's.
  double Next(double clip, double within) const;
  /// The noise multiplier that is left for the vectors when both together are to have `noise_multiplier`.
  /// Errors: kInvalidArgument where the count's noise is too little for that: want noise_multiplier < 2 · count_noise.
  Result<double> VectorNoise(double noise_multiplier) const;
};

}  // namespace fedpeft::privacy
