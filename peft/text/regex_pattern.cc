#include "peft/text/regex_pattern.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <variant>
#include <vector>

#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

constexpr std::string_view kCategoryNames[kCategoryCount] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                                             "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                                             "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};
// The two letters of ASCII that have a third form of the same letter (simple case folding).
constexpr char32_t kLongS = 0x17F, kKelvin = 0x212A;

/// A class: the union of sets, or its complement.
struct CharacterClass {
  std::vector<CodePointSet> sets;
  bool negated = false;
};
/// Syntax that stays as it is, or a class.
using Item = std::variant<std::string, CharacterClass>;

CodePointSet One(char32_t c) {
  return {.range = {c, c}};
}

/// Bits of the categories that a name of one or two letters stands for; 0: none.
std::uint32_t CategoriesNamed(std::string_view name) {
  std::uint32_t out = 0;
  for (int i = 0; i < kCategoryCount; ++i) {
    const std::string_view category = kCategoryNames[i];
    if (name == category || (name.size() == 1 && name[0] == category[0])) out |= std::uint32_t{1} << i;
  }
  return out;
}

class PatternReader {
 public:
  explicit PatternReader(std::string_view pattern) : text_(pattern) {}

  Result<std::vector<Item>> Read() {
    while (at_ < text_.size()) RETURN_IF_ERROR(ReadItem());
    if (groups_.size() != 1) return Malformed("a group is not closed");
    return std::move(items_);
  }

 private:
  Status Malformed(const std::string& what) const {
    return InvalidArgument("regular expression: " + what + " at byte " + std::to_string(at_));
  }
  Status Unknown(std::string_view what) const {
    return Unimplemented("regular expression: '" + std::string(what) + "' at byte " + std::to_string(at_) +
                         " is not built in");
  }
  bool Take(std::string_view prefix) {
    if (!text_.substr(at_).starts_with(prefix)) return false;
    at_ += prefix.size();
    return true;
  }
  bool AtEnd() const { return at_ >= text_.size(); }

  Status ReadItem() {
    switch (text_[at_]) {
      case '(':
        return OpenGroup();
      case ')':
        ++at_;
        items_.emplace_back(")");
        groups_.pop_back();
        return groups_.empty() ? Malformed("a group is closed that was not opened") : OkStatus();
      case '|':
      case '.':
      case '^':
      case '$':
        items_.emplace_back(std::string(1, text_[at_++]));
        return OkStatus();
      case '*':
      case '+':
      case '?':
        items_.emplace_back(std::string(1, text_[at_++]));
        return OkStatus();
      case '{':
        return ReadBounds();
      case '[':
        return ReadClass();
      case '\\':
        return ReadEscapeOutside();
      default:
        return AddSet(One(NextCodePoint(text_, at_)));
    }
  }

  Status OpenGroup() {
    bool ignore_case = groups_.back();
    std::string opening = "(?:";
    if (Take("(?i:")) {
      ignore_case = true;
    } else if (Take("(?-i:")) {
      ignore_case = false;
    } else if (text_.substr(at_).starts_with("(?")) {
      const auto known =
          std::find_if(std::begin(kGroups), std::end(kGroups), [this](auto group) { return Take(group); });
      if (known == std::end(kGroups)) return Unknown(text_.substr(at_, 4));
      opening = *known;
    } else {
      ++at_;
    }
    items_.emplace_back(opening);
    groups_.push_back(ignore_case);
    return OkStatus();
  }

  /// `{n}`, `{n,}`, `{n,m}` or `{,m}`.
  Status ReadBounds() {
    const std::size_t close = text_.find('}', at_);
    const std::string_view inside = text_.substr(at_ + 1, close == text_.npos ? 0 : close - at_ - 1);
    const bool digits = inside.find_first_not_of("0123456789,") == inside.npos;
    if (inside.empty() || !digits || std::count(inside.begin(), inside.end(), ',') > 1 || inside == ",") {
      return Unknown(text_.substr(at_, 4));
    }
    at_ = close + 1;
    if (!AtEnd() && text_[at_] == '+') return Unknown("}+");  // not possessive in Ruby, possessive in PCRE2
    items_.emplace_back("{" + std::string(inside[0] == ',' ? "0" : "") + std::string(inside) + "}");
    return OkStatus();
  }

  Status ReadEscapeOutside() {
    for (std::string_view anchor : {"\\A", "\\z"}) {
      if (Take(anchor)) {
        items_.emplace_back(std::string(anchor));
        return OkStatus();
      }
    }
    ASSIGN_OR_RETURN(const CodePointSet set, ReadEscape());
    return AddSet(set);
  }

  /// A backslash and what follows, as a set.
  Result<CodePointSet> ReadEscape() {
    if (at_ + 1 >= text_.size()) return Malformed("a backslash ends the pattern");
    const char c = text_[at_ + 1];
    const std::size_t start = at_;
    at_ += 2;
    switch (c) {
      case 's':
      case 'S':
        return CodePointSet{.space = true, .negated = c == 'S'};
      case 'd':
      case 'D':
        return CodePointSet{.categories = CategoriesNamed("Nd"), .negated = c == 'D'};
      case 'p':
      case 'P':
        return ReadProperty(c == 'P');
      case 'n':
        return One('\n');
      case 'r':
        return One('\r');
      case 't':
        return One('\t');
      case 'f':
        return One('\f');
      case 'v':
        return One('\v');
      case 'x':
      case 'u':
        return ReadCodePoint(c);
      default:
        break;
    }
    const bool punctuation =
        static_cast<unsigned char>(c) < 0x80 && HasProperty(static_cast<unsigned char>(c), kPunctuation);
    if (punctuation || c == ' ') return One(static_cast<unsigned char>(c));
    at_ = start;
    return Unknown(text_.substr(start, 2));
  }

  /// Behind `\p`: `{L}`, `{Lu}`, `{^L}`.
  Result<CodePointSet> ReadProperty(bool negated) {
    const std::size_t close = text_.find('}', at_);
    if (AtEnd() || text_[at_] != '{' || close == text_.npos) return Malformed("\\p without {name}");
    std::string_view name = text_.substr(at_ + 1, close - at_ - 1);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    const std::uint32_t categories = CategoriesNamed(name);
    if (categories == 0) return Unknown("\\p{" + std::string(name) + "}");
    at_ = close + 1;
    return CodePointSet{.categories = categories, .negated = negated};
  }

  /// Behind `\x` or `\u`: `{H…}`, two or four hexadecimal digits.
  Result<CodePointSet> ReadCodePoint(char kind) {
    std::string_view digits = text_.substr(at_, kind == 'u' ? 4 : 2);
    bool whole = digits.size() == (kind == 'u' ? 4 : 2);
    std::size_t end = at_ + digits.size();
    if (kind == 'x' && !AtEnd() && text_[at_] == '{') {
      const std::size_t close = std::min(text_.find('}', at_), text_.size());
      digits = text_.substr(at_ + 1, close - at_ - 1);
      end = close + 1;
      whole = !digits.empty();
    }
    std::uint32_t value = 0;
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    whole = whole && parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
    if (!whole || end > text_.size() || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
      return Malformed("a code point that is none");
    }
    if (kind == 'x' && text_[at_] != '{' && value >= 0x80) return Unknown("\\x80 and above");  // a byte in Oniguruma
    at_ = end;
    return One(value);
  }

  Status ReadClass() {
    CharacterClass out;
    ++at_;
    out.negated = Take("^");
    while (!AtEnd() && text_[at_] != ']') {
      if (text_[at_] == '[' || text_.substr(at_).starts_with("&&")) return Unknown(text_.substr(at_, 2));
      ASSIGN_OR_RETURN(CodePointSet set, ReadMember());
      const bool single = set.range.first == set.range.last;
      if (single && at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        ASSIGN_OR_RETURN(const CodePointSet last, ReadMember());
        if (last.range.first != last.range.last || last.range.first < set.range.first)
          return Malformed("a wrong range");
        set.range.last = last.range.last;
      }
      out.sets.push_back(set);
    }
    if (AtEnd() || out.sets.empty()) return Malformed("a character class that is empty or not closed");
    ++at_;
    return AddClass(std::move(out));
  }

  Result<CodePointSet> ReadMember() {
    if (AtEnd()) return Malformed("a character class is not closed");
    if (text_[at_] == '\\') return ReadEscape();
    return One(NextCodePoint(text_, at_));
  }

  Status AddSet(const CodePointSet& set) { return AddClass({{set}, false}); }

  /// Under `(?i:`, with the other forms of its letters.
  Status AddClass(CharacterClass set) {
    if (groups_.back()) {
      const std::vector<CodePointSet> written = set.sets;
      for (const CodePointSet& member : written) {
        if (member.range.first > member.range.last) continue;
        if (member.range.last >= 0x80) return Unknown("a character above ASCII in (?i:");
        for (char32_t c = member.range.first; c <= member.range.last; ++c) AddOtherCase(c, set.sets);
      }
    }
    items_.emplace_back(std::move(set));
    return OkStatus();
  }

  static void AddOtherCase(char32_t c, std::vector<CodePointSet>& sets) {
    const char32_t lower = c | 0x20;
    if (lower < 'a' || lower > 'z' || c < 'A') return;
    sets.push_back(One(c ^ 0x20));
    if (lower == 's') sets.push_back(One(kLongS));
    if (lower == 'k') sets.push_back(One(kKelvin));
  }

  static constexpr std::string_view kGroups[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Item> items_;
  std::vector<bool> groups_ = {false};  // of each open group, whether it ignores case
};

/// What the pattern's ranges have above ASCII.
std::vector<CodePointRange> NamedRanges(const std::vector<Item>& items) {
  std::vector<CodePointRange> out;
  for (const Item& item : items) {
    const auto* set = std::get_if<CharacterClass>(&item);
    if (set == nullptr) continue;
    for (const CodePointSet& member : set->sets) {
      if (member.range.first > member.range.last || member.range.last < 0x80) continue;
      const CodePointRange range = {std::max<char32_t>(member.range.first, 0x80), member.range.last};
      const bool known = std::any_of(out.begin(), out.end(), [&](const CodePointRange& other) {
        return other.first == range.first && other.last == range.last;
      });
      if (!known) out.push_back(range);
    }
  }
  return out;
}

std::string Hex(int byte) {
  constexpr char kDigits[] = "0123456789abcdef";
  return {'\\', 'x', kDigits[byte / 16], kDigits[byte % 16]};
}

std::string WriteClass(const RegexAlphabet::Bytes& bytes) {
  if (bytes.none()) return "(?!)";
  std::string out = "[";
  for (int first = 0; first < 256; ++first) {
    if (!bytes[static_cast<std::size_t>(first)]) continue;
    int last = first;
    while (last + 1 < 256 && bytes[static_cast<std::size_t>(last + 1)]) ++last;
    out += Hex(first);
    if (last > first) out += "-" + Hex(last);
    first = last;
  }
  return out + "]";
}

}  // namespace

Result<BytePattern> TranslatePattern(std::string_view pattern) {
  ASSIGN_OR_RETURN(const std::vector<Item> items, PatternReader(pattern).Read());
  ASSIGN_OR_RETURN(RegexAlphabet alphabet, RegexAlphabet::Make(NamedRanges(items)));
  std::string out;
  for (const Item& item : items) {
    if (const auto* syntax = std::get_if<std::string>(&item)) {
      out += *syntax;
      continue;
    }
    const auto& set = std::get<CharacterClass>(item);
    RegexAlphabet::Bytes bytes;
    for (const CodePointSet& member : set.sets) bytes |= alphabet.BytesOf(member);
    out += WriteClass(set.negated ? ~bytes : bytes);
  }
  return BytePattern{std::move(alphabet), std::move(out)};
}

std::string EscapePattern(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && HasProperty(byte, kPunctuation)) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

}  // namespace fedpeft::text
