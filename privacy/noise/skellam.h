// Skellam noise: the difference of two Poisson variables. Sums of it are Skellam again, whoever's are missing.
#pragma once

#include <cstdint>

#include "privacy/noise/random_bits.h"

namespace fedpeft::privacy {

class Skellam {
 public:
  /// Of this variance, in (0, 2^56].
  explicit Skellam(double variance);
  std::int64_t Draw(RandomBits& bits) const { return DrawPoisson(bits) - DrawPoisson(bits); }

 private:
  /// Source: Hörmann 1993 (transformed rejection, PTRS) for a mean of 10 or more; Knuth's product below. Exact but for
  /// the rounding of doubles.
  std::int64_t DrawPoisson(RandomBits& bits) const;

  /// Of each of the two.
  double mean_;
};

}  // namespace fedpeft::privacy
