#include "peft/text/graphemes.h"

#include "peft/text/hangul.h"
#include "peft/text/unicode_tables.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

/// In the order of GRAPHEME_BREAKS in scripts/make_unicode_tables.py; the last two are told by arithmetic.
enum class GraphemeBreak : std::uint8_t {
  kOther,
  kCr,
  kLf,
  kControl,
  kExtend,
  kZwj,
  kRegionalIndicator,
  kPrepend,
  kSpacingMark,
  kLead,
  kVowel,
  kTrail,
  kOpenSyllable,
  kClosedSyllable
};
enum class Conjunct : std::uint8_t { kNone, kLinker, kConsonant };

GraphemeBreak BreakOf(char32_t c) {
  if (hangul::IsSyllable(c)) return hangul::IsOpen(c) ? GraphemeBreak::kOpenSyllable : GraphemeBreak::kClosedSyllable;
  const GraphemeRange* row = RowBefore(kGraphemeBreaks, c, &GraphemeRange::first);
  return row != nullptr && c <= row->last ? static_cast<GraphemeBreak>(row->value) : GraphemeBreak::kOther;
}

Conjunct ConjunctOf(char32_t c) {
  const ConjunctRange* row = RowBefore(kConjuncts, c, &ConjunctRange::first);
  return row != nullptr && c <= row->last ? static_cast<Conjunct>(row->value) : Conjunct::kNone;
}

bool IsPictograph(char32_t c) {
  const CodePointRange* row = RowBefore(kPictographs, c, &CodePointRange::first);
  return row != nullptr && c <= row->last;
}

bool IsControl(GraphemeBreak value) {
  return value == GraphemeBreak::kCr || value == GraphemeBreak::kLf || value == GraphemeBreak::kControl;
}

/// GB6 to GB8: within a syllable.
bool JoinsHangul(GraphemeBreak before, GraphemeBreak now) {
  using B = GraphemeBreak;
  const bool syllable = now == B::kOpenSyllable || now == B::kClosedSyllable;
  if (before == B::kLead) return now == B::kLead || now == B::kVowel || syllable;
  if (before == B::kOpenSyllable || before == B::kVowel) return now == B::kVowel || now == B::kTrail;
  return (before == B::kClosedSyllable || before == B::kTrail) && now == B::kTrail;
}

/// What the rules must know of the cluster so far.
class Cluster {
 public:
  explicit Cluster(char32_t c) { Add(c, BreakOf(c)); }

  /// Whether no boundary is before `c`; then it is added.
  bool Take(char32_t c) {
    const GraphemeBreak now = BreakOf(c);
    if (!Joins(c, now)) return false;
    Add(c, now);
    return true;
  }

 private:
  bool Joins(char32_t c, GraphemeBreak now) const {
    using B = GraphemeBreak;
    if (last_ == B::kCr && now == B::kLf) return true;                                              // GB3
    if (IsControl(last_) || IsControl(now)) return false;                                           // GB4, GB5
    if (JoinsHangul(last_, now)) return true;                                                       // GB6-8
    if (now == B::kExtend || now == B::kZwj || now == B::kSpacingMark) return true;                 // GB9, GB9a
    if (last_ == B::kPrepend) return true;                                                          // GB9b
    if (linked_ && ConjunctOf(c) == Conjunct::kConsonant) return true;                              // GB9c
    if (last_ == B::kZwj && pictograph_ && IsPictograph(c)) return true;                            // GB11
    return now == B::kRegionalIndicator && last_ == B::kRegionalIndicator && indicators_ % 2 == 1;  // GB12, GB13
  }

  void Add(char32_t c, GraphemeBreak now) {
    using B = GraphemeBreak;
    const bool extends = now == B::kExtend || now == B::kZwj;
    const Conjunct conjunct = ConjunctOf(c);
    linked_ = consonant_ && (conjunct == Conjunct::kLinker || (extends && linked_));
    consonant_ = conjunct == Conjunct::kConsonant || (consonant_ && (extends || conjunct == Conjunct::kLinker));
    pictograph_ = IsPictograph(c) || (pictograph_ && extends);
    indicators_ = now == B::kRegionalIndicator ? indicators_ + 1 : 0;
    last_ = now;
  }

  GraphemeBreak last_ = GraphemeBreak::kOther;
  bool consonant_ = false;   // a consonant and what extends it end the cluster
  bool linked_ = false;      // ... with a linker among the latter
  bool pictograph_ = false;  // a pictograph and what extends it end the cluster
  int indicators_ = 0;       // regional indicators that end the cluster
};

}  // namespace

std::size_t GraphemeLength(std::string_view text) {
  constexpr char kFirstBeyondAscii = '\x7F';
  const auto plain = [&](std::size_t at) { return text[at] >= ' ' && text[at] < kFirstBeyondAscii; };
  if (plain(0) && (text.size() == 1 || plain(1))) return 1;
  std::size_t at = 0;
  Cluster cluster(NextCodePoint(text, at));
  while (at < text.size()) {
    std::size_t next = at;
    if (!cluster.Take(NextCodePoint(text, next))) break;
    at = next;
  }
  return at;
}

}  // namespace fedpeft::text
