// Second stage of a tokenizer: a normalised piece of text to words.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/fingerprint.h"
#include "peft/core/status.h"
#include "peft/text/regex.h"

namespace fedpeft::text {

/// A text and the words in it. Bytes outside of every word are dropped. A stage narrows or splits words, or writes a
/// new text; a sequence of stages is a loop.
struct Words {
  struct Range {
    std::size_t start, end;
  };
  std::string text;
  std::vector<Range> ranges;
  bool at_start = true;  ///< the first word begins where the text given to the tokenizer does

  std::string_view WordAt(const Range& range) const {
    return std::string_view(text).substr(range.start, range.end - range.start);
  }
};

/// Puts for each word, in order, what `cut(word, spans)` makes of it: spans of the word, of which empty ones are
/// dropped.
template <typename Cut>
Status CutWords(Words& words, Cut cut) {
  std::vector<Words::Range> out;
  out.reserve(words.text.size() / 4 + 1);
  std::vector<Span> spans;
  for (const Words::Range& range : words.ranges) {
    spans.clear();
    RETURN_IF_ERROR(cut(words.WordAt(range), spans));
    for (const Span& span : spans) {
      if (span.start < span.end) out.push_back({range.start + span.start, range.start + span.end});
    }
  }
  words.at_start = words.at_start && !out.empty() && out.front().start == words.ranges.front().start;
  words.ranges = std::move(out);
  return OkStatus();
}

/// Immutable; const members are safe on any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Pre: `words.text` is valid UTF-8 and every range is on boundaries. Post: the same, and no range is empty.
  /// Errors: Regex::Cut's.
  virtual Status Split(Words& words) const = 0;
  virtual void AddTo(Fingerprint& fingerprint) const = 0;
};

/// `where` names it in messages. Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong
/// setting.
Result<std::unique_ptr<PreTokenizer>> MakePreTokenizer(const nlohmann::json& config,
                                                       const std::string& where = "pre_tokenizer");

}  // namespace fedpeft::text
