// StreamDecoder: the text of tokens that come one by one. A token may be part of a character, and what a token is in
// text may depend on the one before it (a space that is dropped at the start); so text is given out when it is whole.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "peft/text/tokenizer.h"

namespace fedpeft::text {

/// Cost: each token decodes the last few again, however long the text. Not for two threads at once.
class StreamDecoder {
 public:
  /// What comes is decoded as the continuation of `context`, whose own text is not given out.
  StreamDecoder(Tokenizer tokenizer, std::span<const std::int32_t> context);

  /// The text that is certain with this token; maybe empty. Always valid UTF-8.
  std::string Add(std::int32_t id);
  /// What is left: bytes that never became a character, as U+FFFD.
  std::string Finish();

 private:
  std::string Emit(std::size_t end, const std::string& text);

  Tokenizer tokenizer_;
  /// From a whole character on.
  std::vector<std::int32_t> window_;
  /// How many of them had their whole text given out; and how much that is of the window's, in bytes.
  std::size_t done_ = 0;
  std::size_t emitted_ = 0;
};

}  // namespace fedpeft::text
