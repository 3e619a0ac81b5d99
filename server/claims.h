// What clients say of their work, checked for sense before it is summed, stored or logged. None of it decides how much
// an update weighs: that is by the examples the client joined with.
#pragma once

#include "configs/run.h"
#include "peft/core/status.h"
#include "server/events.h"

namespace fedpeft::server {

/// Errors: kInvalidArgument for no or absurdly many examples, and for a loss or duration that is negative, not finite
/// or absurdly large: sums of what passes stay finite.
Status CheckTrainStats(const TrainStats& stats);

/// `held`: the examples the evaluator joined with; it cannot have evaluated others. Errors: kInvalidArgument likewise,
/// and for counts of another kind of problem than the run's, or of a class that it does not have.
Status CheckEvaluateStats(const EvaluateStats& stats, std::uint64_t held, const ProblemSpec& problem);

}  // namespace fedpeft::server
