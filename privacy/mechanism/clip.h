// Clipping: how far a client's vector may reach, so that noise in proportion to that hides whether it is there; and a
// clip norm that follows the clients' norms without telling them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "peft/core/check.h"
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

/// How a clip norm is divided among a vector's values: those of a group are clipped together, to its part of the norm,
/// so that the whole is within the norm whatever the groups are.
struct ClipGroups {
  struct Stretch {
    std::uint64_t size = 0;
    /// Its index in `shares`.
    std::size_t group = 0;
  };
  /// Of the vector, from its beginning to its end.
  std::vector<Stretch> stretches = {};
  /// Of the norm's square, > 0, at most 1 together. Empty: all values are one group that has it all.
  std::vector<double> shares = {};

  /// Calls visit(part of piece, group) for a piece that begins with the vector's value `first`. Pre: it ends within the
  /// stretches.
  template <typename Value, typename Visit>
  void ForEach(std::uint64_t first, std::span<Value> piece, const Visit& visit) const;
};

/// The clipping of one vector that comes in pieces, twice: to be measured, then to be clipped.
class VectorClip {
 public:
  /// `groups` outlive this object. Pre: clip > 0.
  VectorClip(double clip, const ClipGroups& groups);
  void Measure(std::uint64_t first, std::span<const float> piece);
  /// Calls visit(part of piece, factor): what it is to be multiplied with, as by ClipFactor. Pre: all is measured.
  template <typename Value, typename Visit>
  void ForEach(std::uint64_t first, std::span<Value> piece, const Visit& visit) const;
  /// Multiplies, zeroes and rounds a piece as ClipPiece does. Pre: all is measured.
  void Clip(std::uint64_t first, std::span<float> piece, int exponent) const;

  /// All groups are within what they have of the norm.
  bool within() const;
  std::uint64_t not_finite() const;

 private:
  struct Group {
    double clip = 0;
    NormCounter norm;
  };
  const ClipGroups& groups_;
  std::vector<Group> parts_;
};

template <typename Value, typename Visit>
void ClipGroups::ForEach(std::uint64_t first, std::span<Value> piece, const Visit& visit) const {
  if (shares.empty()) return visit(piece, std::size_t{0});
  const std::uint64_t last = first + piece.size();
  std::uint64_t begin = 0;
  for (const Stretch& stretch : stretches) {
    const std::uint64_t end = begin + stretch.size;
    const std::uint64_t from = std::max(first, begin), to = std::min(last, end);
    if (from < to) visit(piece.subspan(from - first, to - from), stretch.group);
    begin = end;
  }
  FEDPEFT_CHECK(last <= begin);  // or values would be left as they are
}

template <typename Value, typename Visit>
void VectorClip::ForEach(std::uint64_t first, std::span<Value> piece, const Visit& visit) const {
  groups_.ForEach(first, piece, [&](std::span<Value> part, std::size_t group) {
    visit(part, ClipFactor(parts_[group].norm.norm(), parts_[group].clip));
  });
}

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
