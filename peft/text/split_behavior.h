// What becomes of matches and of the text between them when a pre-tokenizer splits by a pattern.
#pragma once

#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/text/regex.h"

namespace fedpeft::text {

class JsonObject;

enum class SplitBehavior {
  kRemoved,             ///< matches are dropped
  kIsolated,            ///< each match is a word
  kMergedWithPrevious,  ///< a match ends the word before it
  kMergedWithNext,      ///< a match begins the word behind it
  kContiguous,          ///< matches that touch are one word
};

/// Reads the key `behavior`. Errors: kInvalidArgument on another word.
Result<SplitBehavior> ReadSplitBehavior(JsonObject& object);

/// The words that are left, in `spans`; some may be empty. Pre: `spans` cover a text. Source: `NormalizedString::split`
/// of the `tokenizers` package.
void ApplySplitBehavior(SplitBehavior behavior, std::vector<Span>& spans);

}  // namespace fedpeft::text
