// Tokens that are found in the text before it is normalised or cut into words: special tokens, and words a user added.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "peft/core/fingerprint.h"
#include "peft/core/status.h"
#include "peft/text/normalizer.h"
#include "peft/text/vocabulary.h"

namespace fedpeft::text {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< matches only between characters that are not `\w`
  bool lstrip = false;       ///< swallows white space before it
  bool rstrip = false;       ///< swallows white space after it
  bool normalized = false;   ///< looked for, in its normalised form, in the normalised text; else in the raw text
  bool special = false;      ///< left out of decoded text
};

/// A stretch of text: an added token, or text between them.
struct TextPiece {
  std::string_view text;
  std::optional<std::int32_t> id;
};

/// Finds, leftmost first and longest at each place, a set of strings.
class TokenMatcher {
 public:
  TokenMatcher() = default;
  struct Pattern {
    std::string text;   ///< not empty
    std::size_t token;  ///< index into the tokens given to Split()
  };
  /// Of patterns with equal text the first counts.
  explicit TokenMatcher(std::vector<Pattern> patterns);

  bool empty() const { return patterns_.empty(); }
  /// Cuts `text` into pieces that are not empty, in order.
  void Split(std::string_view text, const std::vector<AddedToken>& tokens, std::vector<TextPiece>& out) const;

 private:
  /// The longest pattern at `at`; null when there is none.
  const Pattern* LongestAt(std::string_view text, std::size_t at) const;

  std::vector<Pattern> patterns_;      // sorted by text
  std::array<bool, 256> starts_ = {};  // bytes some pattern starts with
};

/// Immutable; const members are safe on any thread.
class AddedTokens {
 public:
  AddedTokens() = default;
  /// Errors: kInvalidArgument on a wrong entry, a content twice, or an id other than the token's in `vocabulary` or,
  /// for a new token, the next free one (the `tokenizers` package would silently renumber it).
  static Result<AddedTokens> FromJson(const nlohmann::json& config, const Vocabulary& vocabulary,
                                      const Normalizer* normalizer);

  const TokenMatcher& raw() const { return raw_; }
  const TokenMatcher& normalized() const { return normalized_; }
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  /// Null when no added token has the id.
  const AddedToken* WithId(std::int32_t id) const;
  std::optional<std::int32_t> Find(std::string_view content) const;
  /// What the token decodes to: its content, normalised where it is looked for so.
  const std::string& SurfaceOf(const AddedToken& token) const;
  /// Whether decoding may leave out this text of a token. A special token that is normalised into another text is not.
  bool IsSpecial(std::string_view surface) const { return special_.Find(surface).has_value(); }
  void AddTo(Fingerprint& fingerprint) const;

 private:
  std::vector<AddedToken> tokens_;                           // special ones first, else as in the file
  std::vector<std::string> surfaces_;                        // parallel to tokens_
  std::vector<std::pair<std::int32_t, std::size_t>> by_id_;  // id and index, in order of ids
  TokenIndex special_;                                       // contents of the special tokens; views into tokens_
  TokenMatcher raw_, normalized_;
};

}  // namespace fedpeft::text
