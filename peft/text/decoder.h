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
  virtual void Decode(std::vector<std::string>& tokens) const = 0;
};

/// WordPiece: a space before every token but the first and those with the prefix, which they lose.
class WordPieceDecoder final : public Decoder {
 public:
  /// `cleanup` undoes the spaces before English punctuation and contractions.
  WordPieceDecoder(std::string prefix, bool cleanup) : prefix_(std::move(prefix)), cleanup_(cleanup) {}
  void Decode(std::vector<std::string>& tokens) const override;

 private:
  std::string prefix_;
  bool cleanup_;
};

/// Errors: kUnimplemented on an unknown type, kInvalidArgument on a missing or wrong setting.
Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& config);

}  // namespace fedpeft::text
