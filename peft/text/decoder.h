// Back from tokens to text.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft::text {

/// Immutable; const members are safe on any thread.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Rewrites tokens into pieces of text, whose concatenation is the result; a sequence of decoders is a loop.
  /// Pre and post: valid UTF-8.
  virtual void Decode(std::vector<std::string>& tokens) const = 0;
};

/// `where` names it in messages. Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong
/// setting.
Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& config, const std::string& where = "decoder");

}  // namespace fedpeft::text
