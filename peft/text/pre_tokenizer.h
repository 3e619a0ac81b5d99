// Second stage of a tokenizer: a normalised piece of text to words.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/text/fingerprint.h"

namespace fedpeft::text {

/// A text and the words in it. Bytes outside of every word are dropped. A stage narrows or splits words, or writes a
/// new text; a sequence of stages is a loop.
struct Words {
  struct Range {
    std::size_t start, end;
  };
  std::string text;
  std::vector<Range> ranges;

  std::string_view WordAt(const Range& range) const {
    return std::string_view(text).substr(range.start, range.end - range.start);
  }
};

/// Immutable; const members are safe on any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Pre: `words.text` is valid UTF-8 and every range is on boundaries. Post: the same, and no range is empty.
  virtual void Split(Words& words) const = 0;
  virtual void AddTo(Fingerprint& fingerprint) const = 0;
};

/// Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong setting.
Result<std::unique_ptr<PreTokenizer>> MakePreTokenizer(const nlohmann::json& config);

}  // namespace fedpeft::text
