// Last stage of a tokenizer: puts the tokens of one text, or of two, and the special tokens in order, with type ids.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/fingerprint.h"
#include "peft/core/status.h"

namespace fedpeft::text {

/// Finds the id of a token that a post-processor names.
using TokenLookup = std::function<std::optional<std::int32_t>(std::string_view)>;

/// One entry of a template: a whole text, or special tokens.
struct TemplatePiece {
  enum class Kind : std::uint8_t { kFirst, kSecond, kSpecial };
  Kind kind;
  std::int32_t type_id;
  std::vector<std::int32_t> ids;  ///< of the special tokens; empty for a text
};

/// What every known post-processor comes down to: one order of pieces for a single text and one for a pair.
/// Immutable; const members are safe on any thread.
class PostProcessor {
 public:
  using Template = std::vector<TemplatePiece>;

  /// Without a post-processor: the texts as they are, type id 0 for the first, 1 for the second.
  PostProcessor();
  PostProcessor(Template single, Template pair);

  /// The pieces in order; without special tokens, the texts keep their type ids.
  const Template& For(bool pair, bool add_special_tokens) const;
  /// Special tokens that For(pair, true) adds.
  std::size_t AddedTokens(bool pair) const;
  void AddTo(Fingerprint& fingerprint) const;

 private:
  Template single_, pair_;
  Template bare_single_, bare_pair_;  // the same without special tokens
};

/// `where` names it in messages. Errors: kUnimplemented on an unknown type; kInvalidArgument on a missing or wrong
/// setting, a special token without definition or with another id than `lookup` gives, or a second text in the template
/// of one.
Result<PostProcessor> MakePostProcessor(const nlohmann::json& config, const TokenLookup& lookup,
                                        const std::string& where = "post_processor");

}  // namespace fedpeft::text
