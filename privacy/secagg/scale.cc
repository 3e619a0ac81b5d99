#include "privacy/secagg/scale.h"

#include <algorithm>
#include <string>

namespace fedpeft::privacy {

namespace {

constexpr int kWidths[] = {16, 20, 24, 28, 32};
constexpr std::int64_t kLeastLevel = (1 << 7) - 1;

}  // namespace

Result<int> AutomaticBits(RingBudget budget, std::int64_t good) {
  for (const int bits : kWidths) {
    budget.bits = bits;
    const Result<std::int64_t> level = LargestLevel(budget);
    if (level.ok() && (*level >= good || (bits == kWidths[4] && *level >= kLeastLevel))) return bits;
  }
  return InvalidArgument("secure_aggregation.bits: " + std::to_string(budget.max_contributions) +
                         " clients of weight " + std::to_string(budget.max_weight) +
                         " leave a value less than 7 of 32 bits (lower the cohort or reducer.max_weight)");
}

double NextRange(const RangeFeedback& feedback) {
  double factor = 1;
  if (feedback.saturated > feedback.values / 1000) {
    factor = 4;
  } else if (feedback.saturated > 0) {
    factor = 2;
  } else if (feedback.largest_mean * 16 < feedback.range) {
    factor = 0.5;
  }
  return std::clamp(feedback.range * factor, 0x1p-40, std::max(feedback.limit, 0x1p-40));
}

}  // namespace fedpeft::privacy
