// ByteLevel: every byte of a text is written as a printable character, so that a vocabulary of characters covers any
// text. Bytes 21-7E, A1-AC and AE-FF are the characters with these numbers, the other 68 are U+0100 and up, in order.
#pragma once

#include <optional>

#include "peft/text/decoder.h"
#include "peft/text/pre_tokenizer.h"
#include "peft/text/regex.h"

namespace fedpeft::text {

class JsonObject;

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  static Result<std::unique_ptr<PreTokenizer>> FromJson(JsonObject& object);

  Status Split(Words& words) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  ByteLevelPreTokenizer(bool add_prefix_space, std::optional<Regex> regex)
      : add_prefix_space_(add_prefix_space), regex_(std::move(regex)) {}

  bool add_prefix_space_;       // every word begins with a space
  std::optional<Regex> regex_;  // GPT-2's; none: words stay whole
};

/// Tokens of characters of the alphabet to their bytes, other tokens as they are; ill-formed UTF-8 becomes U+FFFD.
class ByteLevelDecoder final : public Decoder {
 public:
  void Decode(std::vector<std::string>& tokens) const override;
};

/// Reads, to no effect, the settings that all ByteLevel stages of a file have; `trim_offsets` is about offsets, which
/// are not computed here.
struct ByteLevelSettings {
  bool add_prefix_space = true;
  bool use_regex = true;
};
Result<ByteLevelSettings> ReadByteLevelSettings(JsonObject& object);

}  // namespace fedpeft::text
