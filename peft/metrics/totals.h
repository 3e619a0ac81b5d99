// Totals: what an evaluation counted, as named integer sums that add over clients. A metric is a function of the sums
// (metrics.h), so what a federation reports is what one evaluation over all the examples would have; and integers add
// to the same bits in every order.
//
// A sum is there or not: that it is there says what kind of evaluation this was, and an evaluation adds only to its
// like.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "peft/core/status.h"

namespace fedpeft {

/// Names of the sums. Fixed-point ones are in units of kGrid.
namespace sum {
/// Of every evaluation: rows of data, or of language modelling training examples, each of packed documents.
inline constexpr std::string_view kExamples = "examples";
/// Nats (of a classifier or a language model) or squared errors; fixed-point.
inline constexpr std::string_view kLoss = "loss";
/// Classification: examples answered right; and, for a class K, `hit.K`, `guess.K` and `truth.K`: those of the class
/// that were answered so, all that were answered so, all of the class.
inline constexpr std::string_view kCorrect = "correct";
inline constexpr std::string_view kHit = "hit.";
inline constexpr std::string_view kGuess = "guess.";
inline constexpr std::string_view kTruth = "truth.";
/// Language modelling: tokens predicted, and those whose first guess was right.
inline constexpr std::string_view kTokens = "tokens";
inline constexpr std::string_view kTokensCorrect = "tokens_correct";
/// Regression, x what is predicted and y what is true: moments, fixed-point.
inline constexpr std::string_view kX = "x";
inline constexpr std::string_view kY = "y";
inline constexpr std::string_view kXX = "xx";
inline constexpr std::string_view kYY = "yy";
inline constexpr std::string_view kXY = "xy";
/// Spearman's coefficient of one box, fixed-point: it does not add, and is dropped when evaluations are joined.
inline constexpr std::string_view kSpearman = "spearman";
}  // namespace sum

inline constexpr double kGrid = 0x1p-20;

class Totals {
 public:
  /// Adds to one sum, which is 0 before. Errors, with the sum as it was: kOutOfRange beyond 63 bits.
  Status Add(std::string_view name, std::int64_t value);
  /// Rounds to kGrid. Errors: kOutOfRange for a value that is not finite or does not fit.
  Status AddReal(std::string_view name, double value);
  /// Adds another client's evaluation. Errors, with the totals as they were: Add's.
  Status Join(const Totals& other);

  bool Has(std::string_view name) const { return sums_.find(name) != sums_.end(); }
  /// 0 where it is not there.
  std::int64_t Get(std::string_view name) const;
  /// Of a fixed-point sum.
  double GetReal(std::string_view name) const { return static_cast<double>(Get(name)) * kGrid; }
  std::uint64_t examples() const { return static_cast<std::uint64_t>(Get(sum::kExamples)); }

  const std::map<std::string, std::int64_t, std::less<>>& sums() const { return sums_; }
  bool operator==(const Totals&) const = default;

 private:
  std::map<std::string, std::int64_t, std::less<>> sums_;
};

/// Whether they can be what an evaluation of at least one example counted: what a client claims is not trusted, nor its
/// names printed. Errors: kInvalidArgument for a name that is not above, a negative count, or parts beyond their whole.
Status CheckTotals(const Totals& totals);

/// `name value` lines, as the state folder keeps them, and back. Errors: kDataLoss.
std::string TotalsText(const Totals& totals);
Result<Totals> TotalsFromText(std::string_view text);

}  // namespace fedpeft
