#include "server/claims.h"

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

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

/// Every kind of problem counts one thing that no other does.
Status CheckKind(const Totals& totals, ProblemType problem) {
  const std::pair<ProblemType, std::string_view> kinds[] = {{ProblemType::kClassification, sum::kCorrect},
                                                            {ProblemType::kRegression, sum::kXY},
                                                            {ProblemType::kLanguageModelling, sum::kTokens}};
  for (const auto& [kind, name] : kinds) {
    if (totals.Has(name) == (kind == problem)) continue;
    return InvalidArgument("evaluation: " + std::string(name) + ": " +
                           (kind == problem ? "is missing" : "is not counted in a problem of this kind"));
  }
  return OkStatus();
}

/// A class is named by its index, in one way only. The counts themselves are CheckTotals'.
Status CheckClasses(const Totals& totals, std::size_t classes) {
  for (const auto& [name, value] : totals.sums()) {
    const std::size_t dot = name.find('.');
    if (dot == name.npos) continue;
    const std::string number = name.substr(dot + 1);
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
    const bool whole = error == std::errc() && end == number.data() + number.size();
    if (!whole || index >= classes || std::to_string(index) != number) {
      return InvalidArgument("evaluation: got a count of a class that the run does not have, want classes 0 to " +
                             std::to_string(classes) + ", the last excluded");
    }
  }
  return OkStatus();
}

}  // namespace

Status CheckTrainStats(const TrainStats& stats) {
  RETURN_IF_ERROR(CheckCount("update: examples", stats.examples, 1, kMaxExamples));
  RETURN_IF_ERROR(CheckReal("update: loss", stats.loss, kMaxReal));
  return CheckReal("update: seconds", stats.seconds, kMaxReal);
}

Status CheckEvaluateStats(const EvaluateStats& stats, std::uint64_t held, const ProblemSpec& problem) {
  RETURN_IF_ERROR(CheckTotals(stats.totals));
  RETURN_IF_ERROR(CheckKind(stats.totals, problem.type));
  RETURN_IF_ERROR(CheckClasses(stats.totals, problem.labels.size()));
  RETURN_IF_ERROR(CheckCount("evaluation: examples", stats.totals.examples(), 1, held));
  if (problem.type == ProblemType::kLanguageModelling) {
    const auto of_example = static_cast<std::uint64_t>(problem.max_length) - 1;  // the first is not predicted
    const auto tokens = static_cast<std::uint64_t>(stats.totals.Get(sum::kTokens));
    RETURN_IF_ERROR(CheckCount("evaluation: tokens", tokens, 1, stats.totals.examples() * of_example));
  }
  return CheckReal("evaluation: seconds", stats.seconds, kMaxReal);
}

}  // namespace fedpeft::server
