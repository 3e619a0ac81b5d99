#include "aggregation/reducer.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace fedpeft::aggregation {

SumReducer::SumReducer(Weighting weighting, std::uint64_t max_weight)
    : weighting_(weighting), max_weight_(weighting == Weighting::kUniform ? 1 : max_weight) {}

Result<std::uint64_t> SumReducer::WeightOf(std::uint64_t examples) const {
  if (weighting_ == Weighting::kUniform) return std::uint64_t{1};
  if (examples == 0) return InvalidArgument("update: got 0 examples, want at least 1 (weights are by examples)");
  return std::min(examples, max_weight_);
}

Result<IntegerSum> SumReducer::Begin(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload,
                                     std::uint64_t max_contributions) const {
  SumSpec spec;
  spec.max_weight = max_weight_;
  spec.max_contributions = max_contributions;
  for (const Segment& segment : payload.segments) spec.max_abs = std::max(spec.max_abs, segment.max_abs);
  return IntegerSum::Make(std::move(layout), std::move(payload), spec);
}

Result<Reduced> SumReducer::Finish(IntegerSum&& sum) const {
  const IntegerSum finished = std::move(sum);
  if (finished.spoiled()) return DataLoss("sum: holds half an update since a read failed (repeat the attempt)");
  if (finished.contributions() == 0) return FailedPrecondition("sum: got no update, want at least 1");
  Reduced reduced;
  reduced.total_weight = finished.total_weight();
  reduced.contributions = finished.contributions();
  reduced.mean.reserve(finished.values().size());
  const double divisor = std::ldexp(static_cast<double>(reduced.total_weight), finished.grid_exponent());
  for (const std::int64_t value : finished.values()) {
    reduced.mean.push_back(static_cast<float>(static_cast<double>(value) / divisor));
  }
  return reduced;
}

Caps SumReducer::caps() const {
  return {.needs = Needs::kSum,
          .data_dependent_weights = weighting_ == Weighting::kExamples,
          .state_space = StateSpace::kNone};
}

}  // namespace fedpeft::aggregation
