// Byte-pair encoding: a word is its characters, merged pair by pair in the order of a list. Characters that the
// vocabulary does not have become the tokens of their bytes (`<0xHH>`), the unknown token, or nothing.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "peft/text/merges.h"
#include "peft/text/token_model.h"
#include "peft/text/word_cache.h"

namespace fedpeft::text {

class JsonObject;

class Bpe final : public TokenModel {
 public:
  /// Its `type` has been read. Errors: kInvalidArgument on a wrong setting, a merge of or into what is not in the
  /// vocabulary, or an unknown token that is not; kUnimplemented on a dropout other than null or 0.
  static Result<std::unique_ptr<TokenModel>> FromJson(JsonObject& object);

  void Encode(std::string_view word, std::vector<std::int32_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  struct Options {
    std::optional<std::int32_t> unknown;
    std::string prefix;          // of characters that do not begin a word; empty: none
    std::string suffix;          // of the character that ends a word; empty: none
    bool fuse_unknown = false;   // one token for neighbouring unknown characters
    bool byte_fallback = false;  // rather the tokens of the bytes
    bool ignore_merges = false;  // a word that is a token is that token
  };
  Bpe(Vocabulary vocabulary, Options options);
  Status ReadMerges(const nlohmann::json& list);
  Status AddMerge(std::string_view left, std::string_view right, std::uint32_t rank);

  /// The id of the character `piece`, with prefix and suffix as its place asks for.
  std::optional<std::int32_t> SymbolOf(std::string_view piece, bool first, bool last, std::string& spelled) const;
  void AppendSymbols(std::string_view word, std::vector<std::int32_t>& symbols) const;

  Vocabulary vocabulary_;
  Options options_;
  std::vector<std::int32_t> byte_tokens_;  // by byte
  Merges merges_;
  std::vector<std::array<std::int32_t, 2>> merge_list_;  // in order of rank
  std::array<std::int32_t, 0x180> characters_;           // ids of the first code points: the byte-level alphabet
  mutable WordCache cache_;
};

}  // namespace fedpeft::text
