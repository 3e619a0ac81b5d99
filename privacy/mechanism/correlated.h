// Noise that is correlated over rounds (DP-FTRL): what a round's noise adds, the rounds after it take off again in
// part, so that sums over rounds, which parameters are, carry less of it than noise of each round's own would leave.
// Nobody is sampled for that; a client's rounds are so many apart.
//
// The matrix of prefix sums is B·C, with C lower triangular, Toeplitz and banded, and round t's sum X_t is given out as
// X_t + (C⁻¹·Z)_t: all rounds together tell what C·X + Z tells, one Gaussian mechanism. Source: Choquette-Choo et al.
// 2023, (Amplified) banded matrix factorization; the coefficients: Fichtenberger et al. 2023.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "privacy/crypto/secret.h"
#include "privacy/noise/discrete_gaussian.h"

namespace fedpeft::privacy {

/// Rounds 1 … rounds, of which any two of a client's are at least `separation` apart; both ≥ 1.
struct CorrelationSpec {
  std::uint32_t rounds = 1;
  std::uint32_t separation = 1;

  /// Of C. No more than the separation: then what a client adds in one of its rounds and in another lies in different
  /// rows of C·X, or is orthogonal.
  std::uint32_t bands() const { return separation < rounds ? separation : rounds; }
  /// The most rounds that a client is in.
  std::uint32_t participations() const { return (rounds - 1) / separation + 1; }
  /// How far a client moves C·X with updates of norm 1.
  double Sensitivity() const;
};

/// C's first column: c_0 = 1, c_j = c_{j−1}·(2j − 1) / 2j, of which the square is the matrix of prefix sums if it is
/// not cut. Pre: bands ≥ 1.
std::vector<double> CorrelationBands(std::uint32_t bands);

/// C⁻¹·Z for columns Z of so many values, a row at a time: x_t = z_t − Σ c_j·x_{t−j}. What is taken off is rounded to a
/// whole number, so that whole noise stays whole: then sums of whole updates and noise tell no fraction.
class BandedSolver {
 public:
  BandedSolver(std::uint32_t bands, std::size_t size);
  /// The next row. Pre: whole numbers of less than 2^50; `size` of them.
  std::span<const double> Next(std::span<const double> z);
  /// The row that was made last. Pre: there is one.
  std::span<const double> last() const { return Row(rows_ - 1); }
  std::uint32_t rows() const { return rows_; }

 private:
  std::span<const double> Row(std::uint32_t row) const { return std::span(kept_).subspan(row % slots_ * size_, size_); }

  std::vector<double> bands_;
  std::size_t size_, slots_;
  /// As many rows as the next one takes, and at least the last.
  std::vector<double> kept_;
  std::uint32_t rows_ = 0;
};

/// A run's noise, as a function of a secret key: round t's is made from keystreams that the key names by round and
/// part. Whoever has the key makes it again, and takes it off what was released: it must not outlive the run.
class CorrelatedNoise {
 public:
  /// Of the noise that is not correlated yet, `deviation` is the standard deviation.
  CorrelatedNoise(SecretKey key, std::uint32_t bands, std::size_t values, double deviation);

  /// The part's noise in round 1, 2, …, in whole numbers; that of rounds before it is made first where it was not.
  /// Asked again for the last round, it is the same. Valid until the next call for the part. Pre: no later round of the
  /// part was asked for. Threads: different parts at once.
  std::span<const double> Of(std::uint32_t round, std::size_t part);
  /// Makes all parts of all rounds up to that one, on all cores.
  void Advance(std::uint32_t round);

 private:
  SecretKey key_;
  DiscreteGaussian gaussian_;
  std::size_t values_;
  std::vector<BandedSolver> parts_;
};

}  // namespace fedpeft::privacy
