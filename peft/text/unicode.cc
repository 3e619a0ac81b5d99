#include "peft/text/unicode.h"

#include <algorithm>
#include <span>
#include <vector>

#include "peft/text/hangul.h"
#include "peft/text/unicode_tables.h"

namespace fedpeft::text {

namespace {

constexpr char32_t kCodePoints = 0x110000;
constexpr char32_t kCapitalIWithDot = 0x130;  // the one code point whose lower case is two
constexpr char32_t kCombiningDotAbove = 0x307;
constexpr int kCategoryShift = 11;  // above the properties' bits

/// Properties and category of every code point, in 16 bits.
class PropertyTable {
 public:
  PropertyTable() : bits_(kCodePoints) {
    Mark(kRemovedByClean, kRemoved);
    Mark(kWhiteSpace, kSpace);
    Mark(kBertPunctuation, kPunctuation);
    Mark(kNonspacingMarks, kNonspacing);
    Mark(kCombiningMarks, kMark);
    Mark(kNumeric, kNumericValue);
    Mark(kWordCharacters, kWord);
    for (const CombiningRange& row : kCombiningClasses) Mark(row.first, row.last, 1, kNotNfdInert);
    for (const Decomposition& row : kDecompositions) Mark(row.code_point, row.code_point, 1, kNotNfdInert);
    Mark(hangul::kFirst, hangul::kFirst + hangul::kCount - 1, 1, kNotNfdInert);
    for (const CompatibilityRow& row : kCompatibility) Mark(row.code_point, row.code_point, 1, kHasCompatibility);
    for (const Composition& row : kCompositions) Mark(row.second, row.second, 1, kComposes);
    Mark(hangul::kVowel, hangul::kVowel + hangul::kVowels - 1, 1, kComposes);
    Mark(hangul::kTrail + 1, hangul::kTrail + hangul::kTrails - 1, 1, kComposes);
    for (const LowercaseRange& row : kLowercase) Mark(row.first, row.last, row.stride, kHasLowercase);
    Mark(kCapitalIWithDot, kCapitalIWithDot, 1, kHasLowercase);
    for (const CategoryRange& row : kCategories) Mark(row.first, row.last, 1, row.category << kCategoryShift);
  }
  std::uint16_t operator[](char32_t c) const { return bits_[c]; }

 private:
  void Mark(char32_t first, char32_t last, char32_t stride, int bits) {
    for (char32_t c = first; c <= last; c += stride) bits_[c] |= static_cast<std::uint16_t>(bits);
  }
  void Mark(std::span<const CodePointRange> rows, Property property) {
    for (const CodePointRange& row : rows) Mark(row.first, row.last, 1, property);
  }
  std::vector<std::uint16_t> bits_;
};

std::uint16_t BitsOf(char32_t code_point) {
  static const PropertyTable table;
  return table[code_point];
}

/// Pre: `c` has kHasLowercase.
void AppendLowercase(char32_t c, std::u32string& out) {
  if (c == kCapitalIWithDot) {
    out.append({U'i', kCombiningDotAbove});
    return;
  }
  // Ranges of different strides interleave, so that the row of `c` may begin a few rows before the nearest start.
  const LowercaseRange* row = RowBefore(kLowercase, c, &LowercaseRange::first);
  while (c > row->last || (c - row->first) % row->stride != 0) --row;
  out.push_back(static_cast<char32_t>(static_cast<std::int32_t>(c) + row->delta));
}

}  // namespace

std::uint16_t Properties(char32_t code_point) {
  return BitsOf(code_point) & ((1 << kCategoryShift) - 1);
}

Category CategoryOf(char32_t code_point) {
  return static_cast<Category>(BitsOf(code_point) >> kCategoryShift);
}

void Lowercase(std::u32string& text) {
  const auto changes = [](char32_t c) { return HasProperty(c, kHasLowercase); };
  if (std::none_of(text.begin(), text.end(), changes)) return;
  std::u32string out;
  out.reserve(text.size() + 8);
  for (char32_t c : text) changes(c) ? AppendLowercase(c, out) : out.push_back(c);
  text = std::move(out);
}

}  // namespace fedpeft::text
