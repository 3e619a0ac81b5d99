// How many bits an element has, and how fine the grid of values is, where a run leaves that to the coordinator. Decided
// from what is public: the cohort's cap, and the last release with its count of saturated values.
#pragma once

#include <cstdint>

#include "peft/core/status.h"
#include "privacy/secagg/quantize.h"

namespace fedpeft::privacy {

/// The fewest of 16, 20, 24, 28 and 32 bits that leave a client's value `good` levels (12 bits and a sign), else 32
/// while these leave it 7 bits. The budget's bits are not read. Errors: kInvalidArgument where they do not.
Result<int> AutomaticBits(RingBudget budget, std::int64_t good = (1 << 12) - 1);

/// What a round's sum says of the range of values that it was made with.
struct RangeFeedback {
  /// The largest absolute value that a client could send.
  double range = 0;
  /// Of the mean update.
  double largest_mean = 0;
  /// Values of all clients, and how many of them were beyond the range.
  std::uint64_t values = 0;
  std::uint64_t saturated = 0;
  /// No range is beyond it: clients that lie about what saturates coarsen the grid no further.
  double limit = 0x1p40;
};

/// The range of the next round: four times this one where more than one value in a thousand was beyond it, twice where
/// any was, half where none was and the mean stays below a sixteenth. Single clients' values are larger than their
/// mean, so that what is left of the range is theirs. Within [2^−40, limit].
double NextRange(const RangeFeedback& feedback);

}  // namespace fedpeft::privacy
