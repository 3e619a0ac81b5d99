#include "server/claims.h"

#include <cstdio>
#include <string>
#include <string_view>

#include "peft/metrics/classification.h"
#include "proto/limits.h"

namespace fedpeft::server {
namespace {

/// A loss an example, or seconds, beyond this are not believed.
constexpr double kMaxReal = 1e12;

/// A NaN fails both comparisons.
Status CheckReal(std::string_view what, double value, double at_most) {
  if (value >= 0 && value <= at_most) return OkStatus();
  char got[32];
  std::snprintf(got, sizeof(got), "%g", value);
  return InvalidArgument(std::string(what) + ": got " + got + ", is out of range (want a finite number, not negative)");
}

Status CheckCount(std::string_view what, std::uint64_t value, std::uint64_t at_least, std::uint64_t at_most) {
  if (value >= at_least && value <= at_most) return OkStatus();
  return InvalidArgument(std::string(what) + ": got " + std::to_string(value) + ", is out of range (want " +
                         std::to_string(at_least) + " to " + std::to_string(at_most) + ")");
}

}  // namespace

Status CheckTrainStats(const TrainStats& stats) {
  RETURN_IF_ERROR(CheckCount("update: examples", stats.examples, 1, kMaxExamples));
  RETURN_IF_ERROR(CheckReal("update: loss", stats.loss, kMaxReal));
  return CheckReal("update: seconds", stats.seconds, kMaxReal);
}

Status CheckEvaluateStats(const EvaluateStats& stats, std::uint64_t held) {
  RETURN_IF_ERROR(CheckCount("evaluation: examples", stats.examples, 1, held));
  RETURN_IF_ERROR(ClassificationTotals().Add(stats.examples, stats.correct, stats.loss_sum));
  return CheckReal("evaluation: seconds", stats.seconds, kMaxReal);
}

}  // namespace fedpeft::server
