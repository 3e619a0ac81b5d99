#include "peft/text/unicode.h"

#include <algorithm>
#include <span>
#include <vector>

#include "peft/text/unicode_tables.h"

namespace fedpeft::text {

namespace {

constexpr char32_t kCodePoints = 0x110000;
constexpr char32_t kCapitalIWithDot = 0x130;  // the one code point whose lower case is two
constexpr char32_t kCombiningDotAbove = 0x307;

// Hangul syllables decompose by arithmetic (Unicode 3.12).
constexpr char32_t kHangulFirst = 0xAC00, kHangulCount = 11172;
constexpr char32_t kLead = 0x1100, kVowel = 0x1161, kTrail = 0x11A7;
constexpr char32_t kVowels = 21, kTrails = 28;

bool IsHangulSyllable(char32_t c) {
  return c >= kHangulFirst && c < kHangulFirst + kHangulCount;
}

class PropertyTable {
 public:
  PropertyTable() : bits_(kCodePoints) {
    Mark(kRemovedByClean, kRemoved);
    Mark(kWhiteSpace, kSpace);
    Mark(kBertPunctuation, kPunctuation);
    Mark(kNonspacingMarks, kNonspacing);
    Mark(kWordCharacters, kWord);
    for (const CombiningRange& row : kCombiningClasses) Mark(row.first, row.last, 1, kNotNfdInert);
    for (const Decomposition& row : kDecompositions) Mark(row.code_point, row.code_point, 1, kNotNfdInert);
    Mark(kHangulFirst, kHangulFirst + kHangulCount - 1, 1, kNotNfdInert);
    for (const LowercaseRange& row : kLowercase) Mark(row.first, row.last, row.stride, kHasLowercase);
    Mark(kCapitalIWithDot, kCapitalIWithDot, 1, kHasLowercase);
  }
  std::uint8_t operator[](char32_t c) const { return bits_[c]; }

 private:
  void Mark(char32_t first, char32_t last, char32_t stride, Property property) {
    for (char32_t c = first; c <= last; c += stride) bits_[c] |= property;
  }
  void Mark(std::span<const CodePointRange> rows, Property property) {
    for (const CodePointRange& row : rows) Mark(row.first, row.last, 1, property);
  }
  std::vector<std::uint8_t> bits_;
};

/// The last row that starts at or before `c`; null when there is none.
template <typename Row, typename Start>
const Row* RowBefore(std::span<const Row> rows, char32_t c, Start start) {
  const auto after =
      std::upper_bound(rows.begin(), rows.end(), c, [&](char32_t value, const Row& row) { return value < row.*start; });
  return after == rows.begin() ? nullptr : &*(after - 1);
}

std::uint8_t CombiningClass(char32_t c) {
  if ((Properties(c) & kNotNfdInert) == 0) return 0;
  const CombiningRange* row = RowBefore(kCombiningClasses, c, &CombiningRange::first);
  return row != nullptr && c <= row->last ? row->combining_class : std::uint8_t{0};
}

void AppendDecomposed(char32_t c, std::u32string& out) {
  if (IsHangulSyllable(c)) {
    const char32_t index = c - kHangulFirst;
    out.push_back(kLead + index / (kVowels * kTrails));
    out.push_back(kVowel + index % (kVowels * kTrails) / kTrails);
    if (index % kTrails != 0) out.push_back(kTrail + index % kTrails);
    return;
  }
  const Decomposition* row = RowBefore(kDecompositions, c, &Decomposition::code_point);
  if (row == nullptr || row->code_point != c) {
    out.push_back(c);
    return;
  }
  AppendDecomposed(row->first, out);
  if (row->second != 0) out.push_back(row->second);
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

/// Stable sort by combining class of every run of code points whose class is not 0.
void OrderMarks(std::u32string& text) {
  const auto starts_run = [](char32_t c) { return CombiningClass(c) != 0; };
  for (auto first = std::find_if(text.begin(), text.end(), starts_run); first != text.end();) {
    const auto last = std::find_if_not(first, text.end(), starts_run);
    std::stable_sort(first, last, [](char32_t a, char32_t b) { return CombiningClass(a) < CombiningClass(b); });
    first = std::find_if(last, text.end(), starts_run);
  }
}

}  // namespace

std::uint8_t Properties(char32_t code_point) {
  static const PropertyTable table;
  return table[code_point];
}

void Lowercase(std::u32string& text) {
  const auto changes = [](char32_t c) { return (Properties(c) & kHasLowercase) != 0; };
  if (std::none_of(text.begin(), text.end(), changes)) return;
  std::u32string out;
  out.reserve(text.size() + 8);
  for (char32_t c : text) changes(c) ? AppendLowercase(c, out) : out.push_back(c);
  text = std::move(out);
}

void DecomposeCanonically(std::u32string& text) {
  const auto changes = [](char32_t c) { return (Properties(c) & kNotNfdInert) != 0; };
  if (std::none_of(text.begin(), text.end(), changes)) return;
  std::u32string out;
  out.reserve(text.size() + 8);
  for (char32_t c : text) changes(c) ? AppendDecomposed(c, out) : out.push_back(c);
  OrderMarks(out);
  text = std::move(out);
}

}  // namespace fedpeft::text
