// First stage of a tokenizer: text to text.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "peft/core/status.h"
#include "peft/text/fingerprint.h"

namespace fedpeft::text {

/// Immutable; const members are safe on any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// In place, so that a sequence of normalizers is a loop. Pre and post: valid UTF-8.
  virtual void Normalize(std::string& text) const = 0;
  /// Everything that changes what Normalize does.
  virtual void AddTo(Fingerprint& fingerprint) const = 0;
};

/// Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong setting.
Result<std::unique_ptr<Normalizer>> MakeNormalizer(const nlohmann::json& config);

}  // namespace fedpeft::text
