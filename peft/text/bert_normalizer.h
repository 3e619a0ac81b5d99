// BertNormalizer: clean, put spaces around ideographs, strip accents, lower the case; in that order.
#pragma once

#include "peft/text/normalizer.h"

namespace fedpeft::text {

class JsonObject;

class BertNormalizer final : public Normalizer {
 public:
  struct Options {
    bool clean_text = true;            ///< drop control characters, make every white space a space
    bool handle_chinese_chars = true;  ///< a space before and after every CJK ideograph
    bool strip_accents = true;         ///< NFD without nonspacing marks
    bool lowercase = true;             ///< per code point
  };
  explicit BertNormalizer(Options options) : options_(options) {}
  /// Its `type` has been read.
  static Result<std::unique_ptr<Normalizer>> FromJson(JsonObject& object);

  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  void NormalizeAscii(std::string& text) const;
  void NormalizeAny(std::string& text) const;
  /// Whether the text begins with something that is dropped.
  bool DropsStart(std::string_view text) const;
  /// The code points of the text, cleaned and with spaces around ideographs.
  std::u32string Clean(const std::string& text) const;

  Options options_;
};

}  // namespace fedpeft::text
