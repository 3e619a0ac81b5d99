// Unigram: of all ways to cut a word into tokens, the one with the largest sum of scores.
#pragma once

#include <string>
#include <vector>

#include "peft/text/byte_trie.h"
#include "peft/text/token_model.h"
#include "peft/text/word_cache.h"

namespace fedpeft::text {

class JsonObject;

class Unigram final : public TokenModel {
 public:
  /// Its `type` has been read. Errors: kInvalidArgument on a wrong setting, a token twice or empty, a score that is not
  /// finite, or no unknown token.
  static Result<std::unique_ptr<TokenModel>> FromJson(JsonObject& object);

  void Encode(std::string_view word, std::vector<std::int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  /// The best way to the end of a part of the word: its last token and where that begins.
  struct Step {
    double score = 0;
    std::size_t start = 0;
    std::int32_t id = -1;  // none yet
  };
  Unigram(Vocabulary vocabulary, std::vector<double> scores, std::int32_t unknown, bool byte_fallback);

  /// By position in the word. Source: `encode_optimized` of the `tokenizers` package.
  std::vector<Step> BestSteps(std::string_view word) const;
  /// Appends the ids of a piece, which may be several unknown characters.
  void AppendPiece(std::string_view piece, std::vector<std::int32_t>& ids) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;  // by id
  double unknown_score_;
  std::int32_t unknown_;
  std::vector<std::int32_t> byte_tokens_;  // by byte; empty: no fallback
  ByteTrie trie_;
  mutable WordCache cache_;
};

}  // namespace fedpeft::text
