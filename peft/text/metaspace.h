// Metaspace: a space is written as a visible character, U+2581 in every known file, and words begin with it.
#pragma once

#include "peft/text/decoder.h"
#include "peft/text/pre_tokenizer.h"

namespace fedpeft::text {

class JsonObject;

/// The settings that the pre-tokenizer and the decoder share.
struct MetaspaceSettings {
  enum class Prepend { kFirst, kNever, kAlways };
  std::string replacement;  ///< one character
  Prepend prepend = Prepend::kAlways;
  bool split = true;

  /// `add_prefix_space` is the older spelling: false must come with, or without, `prepend_scheme: never`.
  static Result<MetaspaceSettings> FromJson(JsonObject& object);
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(MetaspaceSettings settings) : settings_(std::move(settings)) {}
  static Result<std::unique_ptr<PreTokenizer>> FromJson(JsonObject& object);

  Status Split(Words& words) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  /// Appends the words of one word whose spaces have been replaced, [start, end of words.text).
  void AppendWords(std::size_t start, Words& words) const;

  MetaspaceSettings settings_;
};

/// Back to spaces; none at the start of the first token, unless nothing was prepended there.
class MetaspaceDecoder final : public Decoder {
 public:
  explicit MetaspaceDecoder(MetaspaceSettings settings) : settings_(std::move(settings)) {}
  static Result<std::unique_ptr<Decoder>> FromJson(JsonObject& object);

  void Decode(std::vector<std::string>& tokens) const override;

 private:
  MetaspaceSettings settings_;
};

}  // namespace fedpeft::text
