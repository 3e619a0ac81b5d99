#include "peft/text/normalization_forms.h"

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "peft/text/hangul.h"
#include "peft/text/unicode.h"
#include "peft/text/unicode_tables.h"

namespace fedpeft::text {

namespace {

std::uint8_t CombiningClass(char32_t c) {
  if (!HasProperty(c, kNotNfdInert)) return 0;
  const CombiningRange* row = RowBefore(kCombiningClasses, c, &CombiningRange::first);
  return row != nullptr && c <= row->last ? row->combining_class : std::uint8_t{0};
}

void AppendCanonical(char32_t c, std::u32string& out) {
  using namespace hangul;
  if (IsSyllable(c)) {
    const char32_t index = c - kFirst;
    out.push_back(kLead + index / (kVowels * kTrails));
    out.push_back(kVowel + index % (kVowels * kTrails) / kTrails);
    if (!IsOpen(c)) out.push_back(kTrail + index % kTrails);
    return;
  }
  const Decomposition* row = RowBefore(kDecompositions, c, &Decomposition::code_point);
  if (row == nullptr || row->code_point != c) {
    out.push_back(c);
    return;
  }
  AppendCanonical(row->first, out);
  if (row->second != 0) out.push_back(row->second);
}

void AppendCompatible(char32_t c, std::u32string& out) {
  if (!HasProperty(c, kHasCompatibility)) return AppendCanonical(c, out);
  const CompatibilityRow* row = RowBefore(kCompatibility, c, &CompatibilityRow::code_point);
  const auto text = kCompatibilityText.subspan(row->offset, row->length);
  out.append(text.begin(), text.end());
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

template <typename Append>
void Decompose(std::u32string& text, int changing, Append append) {
  const auto changes = [changing](char32_t c) { return (Properties(c) & changing) != 0; };
  if (std::none_of(text.begin(), text.end(), changes)) return;
  std::u32string out;
  out.reserve(text.size() + 8);
  for (char32_t c : text) changes(c) ? append(c, out) : out.push_back(c);
  OrderMarks(out);
  text = std::move(out);
}

/// What the pair becomes; 0 when it stays a pair.
char32_t Composed(char32_t first, char32_t second) {
  using namespace hangul;
  if (!HasProperty(second, kComposes)) return 0;
  if (first >= kLead && first < kLead + kLeads && second >= kVowel && second < kVowel + kVowels) {
    return kFirst + ((first - kLead) * kVowels + (second - kVowel)) * kTrails;
  }
  if (IsSyllable(first) && IsOpen(first) && second > kTrail && second < kTrail + kTrails) {
    return first + (second - kTrail);
  }
  const auto key = [](const Composition& row) { return std::tuple(row.first, row.second); };
  const auto found = std::lower_bound(kCompositions.begin(), kCompositions.end(), std::tuple(first, second),
                                      [&](const Composition& row, const auto& want) { return key(row) < want; });
  return found != kCompositions.end() && key(*found) == std::tuple(first, second) ? found->composed : 0;
}

}  // namespace

void DecomposeCanonically(std::u32string& text) {
  Decompose(text, kNotNfdInert, AppendCanonical);
}

void DecomposeCompatibly(std::u32string& text) {
  Decompose(text, kNotNfdInert | kHasCompatibility, AppendCompatible);
}

void Compose(std::u32string& text) {
  constexpr int kNothing = -1;
  std::size_t kept = 0;
  char32_t* starter = nullptr;  // the last kept code point of class 0
  int between = kNothing;       // the class of the last code point kept behind it
  for (char32_t c : text) {
    const int combining_class = CombiningClass(c);
    if (starter != nullptr && between < combining_class) {
      if (const char32_t composed = Composed(*starter, c); composed != 0) {
        *starter = composed;
        continue;
      }
    }
    text[kept] = c;
    between = combining_class;
    if (combining_class == 0) {
      starter = &text[kept];
      between = kNothing;
    }
    ++kept;
  }
  text.resize(kept);
}

}  // namespace fedpeft::text
