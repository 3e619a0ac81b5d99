// Pre-tokenizers that look at one character at a time: Digits, Punctuation, WhitespaceSplit, Whitespace.
#pragma once

#include "peft/text/pre_tokenizer.h"
#include "peft/text/split_behavior.h"
#include "peft/text/unicode.h"

namespace fedpeft::text {

class JsonObject;

/// Digits, Punctuation and WhitespaceSplit: every character with a property is a match.
class PropertySplit final : public PreTokenizer {
 public:
  PropertySplit(Property property, SplitBehavior behavior) : property_(property), behavior_(behavior) {}
  /// Pre: `type` is one of the three.
  static Result<std::unique_ptr<PreTokenizer>> FromJson(const std::string& type, JsonObject& object);

  Status Split(Words& words) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  Property property_;
  SplitBehavior behavior_;
};

/// Whitespace: words are runs of `\w` and runs of what is neither `\w` nor white space.
class WhitespacePreTokenizer final : public PreTokenizer {
 public:
  static Result<std::unique_ptr<PreTokenizer>> FromJson(JsonObject& object);

  Status Split(Words& words) const override;
  void AddTo(Fingerprint& fingerprint) const override { fingerprint.Text("Whitespace"); }
};

}  // namespace fedpeft::text
