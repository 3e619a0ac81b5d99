// ClassificationTotals: accuracy and mean loss over clients, from counts that add. A ratio of sums is what one
// evaluation over all the examples would have given; a mean of ratios is not. Sums are integers, so the order in which
// clients answer cannot change a bit. Metrics that need more than these counts (F1, perplexity by token) are other
// units.
#pragma once

#include <cstdint>
#include <optional>

#include "peft/core/status.h"

namespace fedpeft {

class ClassificationTotals {
 public:
  /// Adds one client's evaluation; what a client claims is not trusted. `loss_sum` is in nats over its examples and is
  /// rounded to 2^−20. Errors, with the totals as they were: kInvalidArgument when `correct` exceeds `examples`, or the
  /// loss is negative, not finite or 2^40 and more; kOutOfRange when the totals would not fit in 63 bits.
  Status Add(std::uint64_t examples, std::uint64_t correct, double loss_sum);

  std::uint64_t examples() const { return examples_; }
  std::uint64_t correct() const { return correct_; }
  /// Nats over all examples.
  double loss_sum() const;
  /// Fraction of examples answered right; nothing without examples.
  std::optional<double> accuracy() const;
  /// Nats an example; nothing without examples.
  std::optional<double> mean_loss() const;

 private:
  std::uint64_t examples_ = 0;
  std::uint64_t correct_ = 0;
  /// In units of 2^−20 nats.
  std::uint64_t loss_ = 0;
};

}  // namespace fedpeft
