// Split: cuts words where a pattern, a regular expression or a plain text, matches.
#pragma once

#include "peft/text/pre_tokenizer.h"
#include "peft/text/regex.h"
#include "peft/text/split_behavior.h"

namespace fedpeft::text {

class JsonObject;

/// The key `pattern`: `{"Regex": "…"}` or `{"String": "…"}`, the latter not empty, as an expression.
Result<std::string> ReadPattern(JsonObject& object);

class SplitPreTokenizer final : public PreTokenizer {
 public:
  static Result<std::unique_ptr<PreTokenizer>> FromJson(JsonObject& object);

  Status Split(Words& words) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  SplitPreTokenizer(std::string pattern, Regex regex, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

  std::string pattern_;
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;  // what the pattern does not match counts as the matches
};

}  // namespace fedpeft::text
