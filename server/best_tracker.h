// BestTracker: which evaluation is the best so far, and when to stop for lack of a better one.
#pragma once

#include <cstdint>
#include <limits>

#include "configs/run.h"
#include "peft/metrics/metrics.h"
#include "server/events.h"

namespace fedpeft::server {

class BestTracker {
 public:
  explicit BestTracker(const EvaluationSpec& spec)
      : metric_(spec.metric), patience_(spec.patience), min_improvement_(spec.min_improvement) {}

  /// True when this is the best so far: the first, or better by more than min_improvement. An evaluation that does not
  /// tell the metric (its classes or values are all alike) is worse than every other.
  bool Add(const EvaluateStats& stats) {
    const double score = ScoreOf(metric_, stats.totals).value_or(-std::numeric_limits<double>::infinity());
    const bool better = !any_ || score > best_ + min_improvement_;
    since_best_ = better ? 0 : since_best_ + 1;
    if (better) best_ = score;
    any_ = true;
    return better;
  }
  /// `patience` evaluations in a row brought nothing better.
  bool Exhausted() const { return patience_ > 0 && since_best_ >= patience_; }

 private:
  Metric metric_;
  std::uint32_t patience_;
  double min_improvement_;
  bool any_ = false;
  double best_ = 0;
  std::uint32_t since_best_ = 0;
};

}  // namespace fedpeft::server
