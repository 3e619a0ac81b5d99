// The normalizers that treat characters one by one, and the Unicode normalization forms.
#pragma once

#include "peft/text/normalizer.h"

namespace fedpeft::text {

class JsonObject;

/// NFC, NFD, NFKC, NFKD.
class UnicodeFormNormalizer final : public Normalizer {
 public:
  UnicodeFormNormalizer(bool compatible, bool compose) : compatible_(compatible), compose_(compose) {}
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  bool compatible_;  // K
  bool compose_;     // C
};

/// Lowercase: as BertNormalizer's.
class LowercaseNormalizer final : public Normalizer {
 public:
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override { fingerprint.Text("Lowercase"); }
};

/// StripAccents: drops marks, but does not decompose before.
class StripAccentsNormalizer final : public Normalizer {
 public:
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override { fingerprint.Text("StripAccents"); }
};

/// Nmt: drops control characters, makes other white space and invisible characters a space.
class NmtNormalizer final : public Normalizer {
 public:
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override { fingerprint.Text("Nmt"); }
};

/// Strip: drops white space at the ends.
class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  static Result<std::unique_ptr<Normalizer>> FromJson(JsonObject& object);
  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  bool left_, right_;
};

}  // namespace fedpeft::text
