#include "peft/text/regex_alphabet.h"

#include <algorithm>

namespace fedpeft::text {

namespace {

constexpr std::uint8_t kFirstCell = 0x80;
constexpr char32_t kNextLine = 0x85;  // the one white space above ASCII that is no separator (category Z)
constexpr std::uint8_t kNextLineByte = kFirstCell + kCategoryCount;
constexpr std::size_t kMostNamed = 32;

bool IsSeparator(Category category) {
  return category == Category::kZs || category == Category::kZl || category == Category::kZp;
}

}  // namespace

Result<RegexAlphabet> RegexAlphabet::Make(std::vector<CodePointRange> named) {
  RegexAlphabet out;
  out.named_ = std::move(named);
  for (int i = 0; i < kCategoryCount; ++i) {
    const auto category = static_cast<Category>(i);
    out.cells_.push_back({category, IsSeparator(category), 0});
  }
  out.cells_.push_back({Category::kCc, true, 0});  // kNextLine
  const Status too_many = Unimplemented("more ranges of characters above ASCII than this version can tell apart");
  if (out.named_.size() > kMostNamed) return too_many;
  for (const CodePointRange& range : out.named_) {
    for (char32_t c = range.first; c <= range.last; ++c) {
      const auto key = std::pair(CategoryOf(c), out.RangesOf(c));
      if (out.named_bytes_.contains(key)) continue;
      if (out.cells_.size() == 256 - kFirstCell) return too_many;
      out.named_bytes_[key] = static_cast<std::uint8_t>(kFirstCell + out.cells_.size());
      out.cells_.push_back({key.first, HasProperty(c, kSpace), key.second});
    }
  }
  return out;
}

std::uint32_t RegexAlphabet::RangesOf(char32_t code_point) const {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < named_.size(); ++i) {
    if (code_point >= named_[i].first && code_point <= named_[i].last) out |= std::uint32_t{1} << i;
  }
  return out;
}

std::uint8_t RegexAlphabet::ByteOf(char32_t c) const {
  if (c < kFirstCell) return static_cast<std::uint8_t>(c);
  const Category category = CategoryOf(c);
  if (!named_.empty()) {
    if (const std::uint32_t ranges = RangesOf(c); ranges != 0) return named_bytes_.at({category, ranges});
  }
  return c == kNextLine ? kNextLineByte : static_cast<std::uint8_t>(kFirstCell + static_cast<int>(category));
}

bool RegexAlphabet::CellIn(const Cell& cell, const CodePointSet& set) const {
  if ((set.categories >> static_cast<int>(cell.category) & 1) != 0 || (set.space && cell.space)) return true;
  for (std::size_t i = 0; i < named_.size(); ++i) {
    const bool within = named_[i].first >= set.range.first && named_[i].last <= set.range.last;
    if (within && (cell.ranges >> i & 1) != 0) return true;
  }
  return false;
}

RegexAlphabet::Bytes RegexAlphabet::BytesOf(const CodePointSet& set) const {
  Bytes out;
  for (char32_t c = 0; c < kFirstCell; ++c) {
    const bool categorised = (set.categories >> static_cast<int>(CategoryOf(c)) & 1) != 0;
    const bool ranged = c >= set.range.first && c <= set.range.last;
    out[c] = categorised || ranged || (set.space && HasProperty(c, kSpace));
  }
  for (std::size_t i = 0; i < cells_.size(); ++i) out[kFirstCell + i] = CellIn(cells_[i], set);
  return set.negated ? ~out : out;
}

}  // namespace fedpeft::text
