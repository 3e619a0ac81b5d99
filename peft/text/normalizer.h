// First stage of a tokenizer: text to text.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "peft/core/fingerprint.h"
#include "peft/core/status.h"

namespace fedpeft::text {

/// A text on its way through normalizers.
struct NormalText {
  std::string text;
  bool at_start = true;  ///< its first character comes from the first character of the raw text
};

/// Immutable; const members are safe on any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// In place, so that a sequence of normalizers is a loop. Pre and post: valid UTF-8. Errors: Regex::Cut's.
  virtual Status Normalize(NormalText& normal) const = 0;
  /// Everything that changes what Normalize does.
  virtual void AddTo(Fingerprint& fingerprint) const = 0;
};

/// `where` names it in messages. Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong
/// setting.
Result<std::unique_ptr<Normalizer>> MakeNormalizer(const nlohmann::json& config,
                                                   const std::string& where = "normalizer");

}  // namespace fedpeft::text
