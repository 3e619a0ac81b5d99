// Third stage of a tokenizer: one word to the ids of its tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "peft/core/fingerprint.h"
#include "peft/core/status.h"
#include "peft/text/vocabulary.h"

namespace fedpeft::text {

/// Immutable; const members are safe on any thread.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of a word. Pre: valid UTF-8, not empty.
  virtual void Encode(std::string_view word, std::vector<std::int32_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
  virtual void AddTo(Fingerprint& fingerprint) const = 0;
};

/// Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong setting.
Result<std::unique_ptr<TokenModel>> MakeTokenModel(const nlohmann::json& config);

}  // namespace fedpeft::text
