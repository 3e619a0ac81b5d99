#define PCRE2_CODE_UNIT_WIDTH 8
#include "peft/text/regex.h"

#include <pcre2.h>

#include <optional>
#include <string>

#include "peft/text/regex_pattern.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

constexpr std::size_t kLongestPattern = 64 << 10;
// A match of a usual pattern takes a few steps a character; a pattern that backtracks without end is stopped here.
constexpr std::uint32_t kMostSteps = 20'000'000;

struct Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

std::string MessageOf(int error) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(error, buffer, sizeof buffer);
  return std::string(reinterpret_cast<const char*>(buffer));
}

pcre2_match_data* MatchData() {
  thread_local const std::unique_ptr<pcre2_match_data, Free> data(pcre2_match_data_create(1, nullptr));
  return data.get();
}

/// A text as the alphabet's bytes, and where each of them is in the text.
class Subject {
 public:
  Subject(std::string_view text, const RegexAlphabet& alphabet) : bytes_(text) {
    if (IsAscii(text)) return;
    storage_.reserve(text.size());
    offsets_.reserve(text.size() + 1);
    for (std::size_t at = 0; at < text.size();) {
      offsets_.push_back(at);
      storage_.push_back(static_cast<char>(alphabet.ByteOf(NextCodePoint(text, at))));
    }
    offsets_.push_back(text.size());
    bytes_ = storage_;
  }
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  std::string_view bytes() const { return bytes_; }
  std::size_t OffsetOf(std::size_t byte) const { return offsets_.empty() ? byte : offsets_[byte]; }

 private:
  std::string_view bytes_;
  std::string storage_;               // empty when the text is ASCII: then it is its own bytes
  std::vector<std::size_t> offsets_;  // in the text, of each byte and of the end
};

}  // namespace

struct Regex::Compiled {
  RegexAlphabet alphabet;
  std::unique_ptr<pcre2_code, Free> code;
  std::unique_ptr<pcre2_match_context, Free> limits;

  /// The first match from `from` on; nothing when there is none.
  Result<std::optional<Span>> Find(std::string_view bytes, std::size_t from) const;
};

Result<std::optional<Span>> Regex::Compiled::Find(std::string_view bytes, std::size_t from) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(bytes.data());
  int found = pcre2_match(code.get(), subject, bytes.size(), from, 0, MatchData(), limits.get());
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
    found = pcre2_match(code.get(), subject, bytes.size(), from, PCRE2_NO_JIT, MatchData(), limits.get());
  }
  if (found == PCRE2_ERROR_NOMATCH) return std::optional<Span>();
  if (found < 0) return ResourceExhausted("regular expression: " + MessageOf(found));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(MatchData());
  return std::optional(Span{bounds[0], bounds[1], true});
}

Result<Regex> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kLongestPattern) {
    return InvalidArgument("regular expression: got " + std::to_string(pattern.size()) + " bytes, want at most " +
                           std::to_string(kLongestPattern));
  }
  ASSIGN_OR_RETURN(BytePattern translated, TranslatePattern(pattern));
  int error = 0;
  PCRE2_SIZE at = 0;
  // Ruby's `^` and `$` are those of lines.
  const std::uint32_t options = PCRE2_MULTILINE | PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  std::unique_ptr<pcre2_code, Free> code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.pattern.data()),
                                                       translated.pattern.size(), options, &error, &at, context.get()));
  if (!code) return InvalidArgument("regular expression '" + std::string(pattern) + "': " + MessageOf(error));
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it, matching is slower and the same
  std::unique_ptr<pcre2_match_context, Free> limits(pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(limits.get(), kMostSteps);
  return Regex(
      std::make_shared<const Compiled>(Compiled{std::move(translated.alphabet), std::move(code), std::move(limits)}));
}

Status Regex::Cut(std::string_view text, std::vector<Span>& spans) const {
  const Subject subject(text, compiled_->alphabet);
  std::size_t done = 0;                   // everything before is in a span
  std::optional<std::size_t> last_match;  // where the last match ended
  for (std::size_t from = 0; from <= subject.bytes().size();) {
    ASSIGN_OR_RETURN(const std::optional<Span> match, compiled_->Find(subject.bytes(), from));
    if (!match) break;
    from = match->end;
    if (match->start == match->end && last_match == match->end) {  // an empty match behind a match does not count
      ++from;
      continue;
    }
    last_match = match->end;
    const std::size_t start = subject.OffsetOf(match->start), end = subject.OffsetOf(match->end);
    if (done < start) spans.push_back({done, start, false});
    spans.push_back({start, end, true});
    done = end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), false});
  return OkStatus();
}

}  // namespace fedpeft::text
