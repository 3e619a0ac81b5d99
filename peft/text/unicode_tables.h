// The Unicode tables behind unicode.h, made by scripts/make_unicode_tables.py. Rows are sorted by code point.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fedpeft::text {

/// Closed range.
struct CodePointRange {
  char32_t first, last;
};
/// Canonical combining class, never 0, of a closed range.
struct CombiningRange {
  char32_t first, last;
  std::uint8_t combining_class;
};
/// Every `stride`-th code point from `first` to `last` has the lower-case form code point + `delta`.
struct LowercaseRange {
  char32_t first, last, stride;
  std::int32_t delta;
};
/// Canonical decomposition in pairs: `first` may decompose again; `second` is 0 for a singleton.
struct Decomposition {
  char32_t code_point, first, second;
};
/// `first` and `second` are put together by NFC. Sorted by both.
struct Composition {
  char32_t first, second, composed;
};
/// Whole compatibility decomposition: `length` code points of kCompatibilityText from `offset`.
struct CompatibilityRow {
  char32_t code_point;
  std::uint32_t offset, length;
};
/// General category (enum Category), never kUnassigned, of a closed range.
struct CategoryRange {
  char32_t first, last;
  std::uint8_t category;
};
/// Grapheme_Cluster_Break (enum GraphemeBreak) of a closed range; Hangul syllables are told by arithmetic.
struct GraphemeRange {
  char32_t first, last;
  std::uint8_t value;
};
/// Indic_Conjunct_Break of a closed range: 1 Linker, 2 Consonant.
struct ConjunctRange {
  char32_t first, last;
  std::uint8_t value;
};

extern const std::span<const CodePointRange> kRemovedByClean;
extern const std::span<const CodePointRange> kWhiteSpace;
extern const std::span<const CodePointRange> kBertPunctuation;
extern const std::span<const CodePointRange> kNonspacingMarks;
extern const std::span<const CodePointRange> kCombiningMarks;
extern const std::span<const CodePointRange> kNumeric;
extern const std::span<const CodePointRange> kWordCharacters;
extern const std::span<const CombiningRange> kCombiningClasses;
extern const std::span<const LowercaseRange> kLowercase;
extern const std::span<const Decomposition> kDecompositions;
extern const std::span<const Composition> kCompositions;
extern const std::span<const CompatibilityRow> kCompatibility;
extern const std::span<const char32_t> kCompatibilityText;
extern const std::span<const CategoryRange> kCategories;
extern const std::span<const GraphemeRange> kGraphemeBreaks;
extern const std::span<const CodePointRange> kPictographs;
extern const std::span<const ConjunctRange> kConjuncts;

/// The last row whose member `start` is at or before `c`; null when there is none.
template <typename Row, typename Start>
const Row* RowBefore(std::span<const Row> rows, char32_t c, Start start) {
  std::size_t low = 0, high = rows.size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (rows[middle].*start <= c) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low == 0 ? nullptr : &rows[low - 1];
}

}  // namespace fedpeft::text
