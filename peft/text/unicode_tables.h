// The Unicode tables behind unicode.h, made by scripts/make_unicode_tables.py. Rows are sorted by code point.
#pragma once

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

extern const std::span<const CodePointRange> kRemovedByClean;
extern const std::span<const CodePointRange> kWhiteSpace;
extern const std::span<const CodePointRange> kBertPunctuation;
extern const std::span<const CodePointRange> kNonspacingMarks;
extern const std::span<const CodePointRange> kWordCharacters;
extern const std::span<const CombiningRange> kCombiningClasses;
extern const std::span<const LowercaseRange> kLowercase;
extern const std::span<const Decomposition> kDecompositions;

}  // namespace fedpeft::text
