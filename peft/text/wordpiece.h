// WordPiece: greedily the longest token that begins what is left of the word; tokens inside a word are written with a
// prefix (`##`) in the vocabulary. A word that cannot be covered is one unknown token.
#pragma once

#include <string>

#include "peft/text/token_model.h"

namespace fedpeft::text {

class JsonObject;

class WordPiece final : public TokenModel {
 public:
  /// Its `type` has been read. Errors: kInvalidArgument on a wrong setting, or an unknown token without an id.
  static Result<std::unique_ptr<TokenModel>> FromJson(JsonObject& object);

  void Encode(std::string_view word, std::vector<std::int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  WordPiece(Vocabulary vocabulary, std::string prefix, std::size_t max_chars, std::int32_t unknown);

  /// Appends the pieces of the word; false when it cannot be covered.
  bool AppendPieces(std::string_view word, std::vector<std::int32_t>& ids) const;

  Vocabulary vocabulary_;
  std::string prefix_;
  std::size_t max_chars_;
  std::int32_t unknown_;
  TokenIndex inner_;         // the tokens that begin with the prefix, without it
  std::size_t longest_ = 0;  // bytes of the longest token: no piece is longer
};

}  // namespace fedpeft::text
