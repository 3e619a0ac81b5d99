// What tokenizers ask about code points. The answers are those of the `tokenizers` package, whose parts use several
// Unicode versions, and come from generated tables, not from the installed ICU: two clients with different system
// libraries must cut the same text into the same tokens.
#pragma once

#include <cstdint>
#include <string>

namespace fedpeft::text {

/// Bits of Properties().
enum Property : std::uint16_t {
  kRemoved = 1 << 0,           ///< dropped by BertNormalizer's clean_text
  kSpace = 1 << 1,             ///< White_Space
  kPunctuation = 1 << 2,       ///< a word of its own for BertPreTokenizer
  kNonspacing = 1 << 3,        ///< category Mn, dropped by strip_accents
  kWord = 1 << 4,              ///< `\w`
  kHasLowercase = 1 << 5,      ///< Lowercase() changes it
  kNotNfdInert = 1 << 6,       ///< decomposes, or has a combining class
  kMark = 1 << 7,              ///< dropped by StripAccents
  kNumericValue = 1 << 8,      ///< a digit for Digits
  kHasCompatibility = 1 << 9,  ///< its compatibility decomposition is not the canonical one
  kComposes = 1 << 10,         ///< the second of a pair that NFC puts together
};

/// General category, as the package's regular expressions have it.
enum class Category : std::uint8_t {
  kUnassigned,
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCo
};
inline constexpr int kCategoryCount = 29;

/// The bits of a code point, in constant time. The table (2.2 MB) is made at the first call.
std::uint16_t Properties(char32_t code_point);
inline bool HasProperty(char32_t code_point, Property property) {
  return (Properties(code_point) & property) != 0;
}
/// As fast as Properties().
Category CategoryOf(char32_t code_point);

/// Lower case of every code point by itself: no final sigma; U+0130 becomes two code points.
void Lowercase(std::u32string& text);

}  // namespace fedpeft::text
