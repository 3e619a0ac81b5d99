// SumReducer: the weighted mean of updates, for which the coordinator needs their sum alone. It says how much an update
// weighs, opens the sum of an attempt, and turns a finished sum, whether clear, masked or noised, into the mean. Rules
// that must see individual updates (medians, Krum) are other reducers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "aggregation/caps.h"
#include "aggregation/integer_sum.h"
#include "peft/core/status.h"
#include "peft/params/layout.h"

namespace fedpeft::aggregation {

enum class Weighting {
  /// By number of examples, at most max_weight.
  kExamples,
  /// Everybody counts 1.
  kUniform,
};

/// What a reducer gives the server optimiser.
struct Reduced {
  /// The mean update, a value per payload element, in payload order.
  std::vector<float> mean;
  std::uint64_t total_weight = 0;
  std::uint64_t contributions = 0;
};

/// The most updates that a round can have, which fixes its grid: its cohort's, or (0) those of everybody who may join.
constexpr std::uint64_t MaxContributions(std::uint32_t cohort, std::uint32_t max_clients) {
  return cohort > 0 ? cohort : max_clients;
}

class SumReducer {
 public:
  /// `max_weight` caps a client's weight under kExamples and is not read under kUniform.
  SumReducer(Weighting weighting, std::uint64_t max_weight);

  /// Errors: kInvalidArgument for no examples under kExamples.
  Result<std::uint64_t> WeightOf(std::uint64_t examples) const;

  /// An empty sum of up to `max_contributions` updates. The grid depends on that number: give the same one in every
  /// round of a phase. Errors: those of IntegerSum::Make.
  Result<IntegerSum> Begin(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload,
                           std::uint64_t max_contributions) const;

  /// mean[i] = float(sum[i] / (total weight · 2^s)), computed in double. Frees the accumulator.
  /// Errors: kFailedPrecondition for a sum without contributions; kDataLoss for a spoiled one.
  Result<Reduced> Finish(IntegerSum&& sum) const;

  Caps caps() const;

 private:
  Weighting weighting_;
  std::uint64_t max_weight_;
};

}  // namespace fedpeft::aggregation
