#include "peft/text/wordpiece.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/text/json_object.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

// Every file has 100; the work for a word grows with its square.
constexpr std::int64_t kMostCharsPerWord = 1000;

}  // namespace

Result<std::unique_ptr<TokenModel>> WordPiece::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(const std::string unknown_token, object.String("unk_token"));
  ASSIGN_OR_RETURN(std::string prefix, object.String("continuing_subword_prefix"));
  ASSIGN_OR_RETURN(const std::int64_t max_chars, object.Integer("max_input_chars_per_word", 0, kMostCharsPerWord));
  ASSIGN_OR_RETURN(const nlohmann::json* tokens, object.Required("vocab"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromJson(*tokens, "model.vocab"));
  const auto unknown = vocabulary.Find(unknown_token);
  if (!unknown) return InvalidArgument("model.unk_token: '" + unknown_token + "' is not in the vocabulary");
  return std::unique_ptr<TokenModel>(
      new WordPiece(std::move(vocabulary), std::move(prefix), static_cast<std::size_t>(max_chars), *unknown));
}

WordPiece::WordPiece(Vocabulary vocabulary, std::string prefix, std::size_t max_chars, std::int32_t unknown)
    : vocabulary_(std::move(vocabulary)),
      prefix_(std::move(prefix)),
      max_chars_(max_chars),
      unknown_(unknown),
      inner_(vocabulary_.entries().size()) {
  for (const Vocabulary::Entry& entry : vocabulary_.entries()) {
    longest_ = std::max(longest_, entry.text.size());
    if (entry.text.starts_with(prefix_)) inner_.Insert(entry.text.substr(prefix_.size()), entry.id);
  }
}

void WordPiece::Encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  const std::size_t before = ids.size();
  if (CountCodePoints(word) <= max_chars_ && AppendPieces(word, ids)) return;
  ids.resize(before);
  ids.push_back(unknown_);
}

bool WordPiece::AppendPieces(std::string_view word, std::vector<std::int32_t>& ids) const {
  for (std::size_t start = 0; start < word.size();) {
    std::size_t end = std::min(word.size(), start + longest_);
    std::optional<std::int32_t> id;
    // A cut inside a character is tried too, and in vain: tokens are valid UTF-8.
    for (; end > start; --end) {
      const std::string_view piece = word.substr(start, end - start);
      id = start == 0 ? vocabulary_.Find(piece) : inner_.Find(piece);
      if (id) break;
    }
    if (!id) return false;
    ids.push_back(*id);
    start = end;
  }
  return true;
}

void WordPiece::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("WordPiece");
  fingerprint.Text(prefix_);
  fingerprint.Number(max_chars_);
  fingerprint.Number(static_cast<std::uint64_t>(unknown_));
  vocabulary_.AddTo(fingerprint);
}

}  // namespace fedpeft::text
