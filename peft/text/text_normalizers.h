// Prepend and Replace: normalizers that put text in.
#pragma once

#include "peft/text/normalizer.h"
#include "peft/text/regex.h"

namespace fedpeft::text {

class JsonObject;

/// Prepend: a text before every piece that is not empty.
class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prepended) : prepended_(std::move(prepended)) {}
  static Result<std::unique_ptr<Normalizer>> FromJson(JsonObject& object);
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  std::string prepended_;
};

/// Replace: a text for every match of a pattern, a regular expression or a plain text.
class ReplaceNormalizer final : public Normalizer {
 public:
  static Result<std::unique_ptr<Normalizer>> FromJson(JsonObject& object);
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  ReplaceNormalizer(std::string pattern, Regex regex, std::string content)
      : pattern_(std::move(pattern)), regex_(std::move(regex)), content_(std::move(content)) {}

  std::string pattern_;
  Regex regex_;
  std::string content_;
};

}  // namespace fedpeft::text
