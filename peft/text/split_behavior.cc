#include "peft/text/split_behavior.h"

#include <algorithm>
#include <string>
#include <utility>

#include "peft/text/json_object.h"

namespace fedpeft::text {

namespace {

/// Joins each span to the one before it where `joins` says so of the pair.
template <typename Joins>
void JoinToPrevious(std::vector<Span>& spans, Joins joins) {
  std::size_t kept = 0;
  bool previous = false;  // whether the span before was a match
  for (const Span span : spans) {
    if (kept > 0 && joins(previous, span.is_match)) {
      spans[kept - 1].start = std::min(spans[kept - 1].start, span.start);
      spans[kept - 1].end = std::max(spans[kept - 1].end, span.end);
    } else {
      spans[kept++] = span;
    }
    previous = span.is_match;
  }
  spans.resize(kept);
}

}  // namespace

Result<SplitBehavior> ReadSplitBehavior(JsonObject& object) {
  static constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  ASSIGN_OR_RETURN(const std::string name, object.String("behavior"));
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  return InvalidArgument(object.where() + ".behavior: got '" + name +
                         "', want Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

void ApplySplitBehavior(SplitBehavior behavior, std::vector<Span>& spans) {
  const auto first_match = [](bool previous, bool now) { return now && !previous; };
  switch (behavior) {
    case SplitBehavior::kRemoved:
      std::erase_if(spans, [](const Span& span) { return span.is_match; });
      break;
    case SplitBehavior::kIsolated:
      break;
    case SplitBehavior::kContiguous:
      JoinToPrevious(spans, [](bool previous, bool now) { return previous == now; });
      break;
    case SplitBehavior::kMergedWithPrevious:
      JoinToPrevious(spans, first_match);
      break;
    case SplitBehavior::kMergedWithNext:
      std::reverse(spans.begin(), spans.end());
      JoinToPrevious(spans, first_match);
      std::reverse(spans.begin(), spans.end());
      break;
  }
}

}  // namespace fedpeft::text
