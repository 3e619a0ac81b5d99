#include "peft/text/stream_decoder.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace fedpeft::text {

namespace {

/// Tokens of the context that the first new one is decoded behind.
constexpr std::size_t kContext = 8;
constexpr std::string_view kUnfinished = "\xEF\xBF\xBD";  // U+FFFD

/// Without what stands at the end for bytes that are no character yet.
std::size_t CertainLength(std::string_view text) {
  while (text.ends_with(kUnfinished)) text.remove_suffix(kUnfinished.size());
  return text.size();
}

bool IsContinuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

}  // namespace

StreamDecoder::StreamDecoder(Tokenizer tokenizer, std::span<const std::int32_t> context)
    : tokenizer_(std::move(tokenizer)) {
  const auto last = context.last(std::min(kContext, context.size()));
  window_.assign(last.begin(), last.end());
  done_ = window_.size();
  emitted_ = tokenizer_.Decode(window_).size();
}

std::string StreamDecoder::Add(std::int32_t id) {
  window_.push_back(id);
  const std::string text = tokenizer_.Decode(window_);
  const std::size_t certain = CertainLength(text);
  std::string out = Emit(certain, text);
  if (!out.empty() && certain == text.size()) {
    // All is out: the next token needs only those behind it that gave this text.
    window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(done_));
    done_ = window_.size();
    emitted_ = tokenizer_.Decode(window_).size();
  }
  return out;
}

std::string StreamDecoder::Finish() {
  const std::string text = tokenizer_.Decode(window_);
  return Emit(text.size(), text);
}

/// Decoders rewrite a run of bytes as a whole, so that text may change in front of what was given out: then it goes on
/// at the next character.
std::string StreamDecoder::Emit(std::size_t end, const std::string& text) {
  std::size_t begin = emitted_;
  while (begin < end && IsContinuation(text[begin])) ++begin;
  if (begin >= end) return {};
  emitted_ = end;
  return text.substr(begin, end - begin);
}

}  // namespace fedpeft::text
