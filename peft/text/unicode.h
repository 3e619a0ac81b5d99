// What tokenizers ask about code points. The answers are those of the `tokenizers` package, whose parts use several
// Unicode versions, and come from generated tables, not from the installed ICU: two clients with different system
// libraries must cut the same text into the same tokens.
#pragma once

#include <cstdint>
#include <string>

namespace fedpeft::text {

/// Bits of Properties().
enum Property : std::uint8_t {
  kRemoved = 1,        ///< dropped by BertNormalizer's clean_text
  kSpace = 2,          ///< White_Space
  kPunctuation = 4,    ///< a word of its own for BertPreTokenizer
  kNonspacing = 8,     ///< category Mn, dropped by strip_accents
  kWord = 16,          ///< `\w`
  kHasLowercase = 32,  ///< Lowercase() changes it
  kNotNfdInert = 64,   ///< decomposes, or has a combining class
};

/// The bits of a code point, in constant time. The table (1.1 MB) is made at the first call.
std::uint8_t Properties(char32_t code_point);

/// Lower case of every code point by itself: no final sigma; U+0130 becomes two code points.
void Lowercase(std::u32string& text);

/// Canonical decomposition with canonical ordering (Unicode 3.11 and 3.12).
void DecomposeCanonically(std::u32string& text);

}  // namespace fedpeft::text
