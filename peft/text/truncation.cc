#include "peft/text/truncation.h"

#include <algorithm>
#include <string>
#include <utility>

namespace fedpeft::text {

namespace {

KeptLengths LongestFirst(std::size_t first, std::size_t second, std::size_t budget) {
  const bool swapped = first > second;
  std::size_t shorter = std::min(first, second);
  std::size_t longer = shorter > budget ? shorter : std::max(shorter, budget - shorter);
  if (shorter + longer > budget) {
    shorter = budget / 2;
    longer = budget - shorter;
  }
  return swapped ? KeptLengths{longer, shorter} : KeptLengths{shorter, longer};
}

}  // namespace

Result<KeptLengths> Truncate(std::size_t first, std::optional<std::size_t> second, std::size_t budget,
                             TruncationStrategy strategy) {
  const std::size_t total = first + second.value_or(0);
  if (total <= budget) return KeptLengths{first, second.value_or(0)};
  if (budget == 0) return KeptLengths{};
  if (strategy == TruncationStrategy::kLongestFirst) {
    return second ? LongestFirst(first, *second, budget) : KeptLengths{budget, 0};
  }
  const bool cut_first = strategy == TruncationStrategy::kOnlyFirst;
  if (!cut_first && !second) return OutOfRange("truncation: only_second was asked for, but there is no second text");
  const std::size_t excess = total - budget;
  const std::size_t length = cut_first ? first : *second;
  if (length <= excess) {
    return OutOfRange("truncation: the " + std::string(cut_first ? "first" : "second") + " text has " +
                      std::to_string(length) + " tokens, want more than the " + std::to_string(excess) +
                      " to be cut (use longest_first)");
  }
  return cut_first ? KeptLengths{first - excess, second.value_or(0)} : KeptLengths{first, *second - excess};
}

}  // namespace fedpeft::text
