// How many tokens of one text or of a pair are kept, cutting on the right.
#pragma once

#include <cstddef>
#include <optional>

#include "peft/core/status.h"

namespace fedpeft::text {

enum class TruncationStrategy {
  kLongestFirst,  ///< the longer text of a pair gives first, then both are halved
  kOnlyFirst,     ///< an error where the first text would be left with nothing
  kOnlySecond,    ///< an error for a single text that is too long, or where the second would be left with nothing
};

/// Tokens kept of each text; `second` is 0 for a single text.
struct KeptLengths {
  std::size_t first = 0, second = 0;
};

/// `second` is empty for a single text; `budget` is what is left after special tokens.
/// Errors: kOutOfRange as said at TruncationStrategy. Source: `truncate_encodings` of the `tokenizers` package.
Result<KeptLengths> Truncate(std::size_t first, std::optional<std::size_t> second, std::size_t budget,
                             TruncationStrategy strategy);

}  // namespace fedpeft::text
