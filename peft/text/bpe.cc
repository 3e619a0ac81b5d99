#include "peft/text/bpe.h"

#include <nlohmann/json.hpp>

#include "peft/text/byte_token.h"
#include "peft/text/json_object.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

using nlohmann::json;

namespace {

constexpr std::int32_t kNoToken = -1;

Result<bool> BoolOrFalse(JsonObject& object, std::string_view key) {
  if (object.Optional(key) == nullptr) return false;
  return object.Bool(key);
}

Result<std::string> StringOrEmpty(JsonObject& object, std::string_view key) {
  if (object.Optional(key) == nullptr) return std::string();
  return object.String(key);
}

Status RefuseDropout(JsonObject& object) {
  const json* dropout = object.Optional("dropout");
  if (dropout == nullptr || (dropout->is_number() && dropout->get<double>() == 0)) return OkStatus();
  return Unimplemented("model.dropout: got " + Describe(*dropout) + ", want null (ids would differ by chance)");
}

}  // namespace

Result<std::unique_ptr<TokenModel>> Bpe::FromJson(JsonObject& object) {
  RETURN_IF_ERROR(RefuseDropout(object));
  ASSIGN_OR_RETURN(const std::string unknown, StringOrEmpty(object, "unk_token"));
  Options options;
  ASSIGN_OR_RETURN(options.prefix, StringOrEmpty(object, "continuing_subword_prefix"));
  ASSIGN_OR_RETURN(options.suffix, StringOrEmpty(object, "end_of_word_suffix"));
  ASSIGN_OR_RETURN(options.fuse_unknown, BoolOrFalse(object, "fuse_unk"));
  ASSIGN_OR_RETURN(options.byte_fallback, BoolOrFalse(object, "byte_fallback"));
  ASSIGN_OR_RETURN(options.ignore_merges, BoolOrFalse(object, "ignore_merges"));
  ASSIGN_OR_RETURN(const json* tokens, object.Required("vocab"));
  ASSIGN_OR_RETURN(const json* merges, object.Array("merges", std::size_t{kMaxTokenId}));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromJson(*tokens, "model.vocab"));
  if (!unknown.empty()) {
    options.unknown = vocabulary.Find(unknown);
    if (!options.unknown) return InvalidArgument("model.unk_token: '" + unknown + "' is not in the vocabulary");
  }
  std::unique_ptr<Bpe> out(new Bpe(std::move(vocabulary), std::move(options)));
  RETURN_IF_ERROR(out->ReadMerges(*merges));
  return std::unique_ptr<TokenModel>(std::move(out));
}

Bpe::Bpe(Vocabulary vocabulary, Options options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)), byte_tokens_(FindByteTokens(vocabulary_)) {
  for (std::size_t c = 0; c < characters_.size(); ++c) {
    std::string text;
    AppendUtf8(static_cast<char32_t>(c), text);
    characters_[c] = vocabulary_.Find(text).value_or(kNoToken);
  }
}

/// `["a", "b"]` or `"a b"`, of which lines that begin with `#version` are left out.
Status Bpe::ReadMerges(const json& list) {
  merges_ = Merges(list.size());
  merge_list_.reserve(list.size());
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const json& entry = list[i];
    const std::string where = "model.merges[" + std::to_string(i) + "]";
    Status added = InvalidArgument("got " + Describe(entry) + ", want \"left right\" or [\"left\", \"right\"]");
    if (entry.is_string()) {
      const std::string_view line = entry.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      const std::size_t space = line.find(' ');
      const bool two = space != line.npos && line.find(' ', space + 1) == line.npos;
      if (two) added = AddMerge(line.substr(0, space), line.substr(space + 1), rank);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      added = AddMerge(entry[0].get_ref<const std::string&>(), entry[1].get_ref<const std::string&>(), rank);
    }
    if (!added.ok()) return added.Annotate(where);
    ++rank;
  }
  return OkStatus();
}

Status Bpe::AddMerge(std::string_view left, std::string_view right, std::uint32_t rank) {
  const auto missing = [](std::string_view token) {
    return InvalidArgument("'" + std::string(token) + "' is not in the vocabulary");
  };
  const auto left_id = vocabulary_.Find(left), right_id = vocabulary_.Find(right);
  if (!left_id) return missing(left);
  if (!right_id) return missing(right);
  if (right.size() < options_.prefix.size()) {
    return InvalidArgument("'" + std::string(right) + "' is shorter than continuing_subword_prefix");
  }
  const std::string merged = std::string(left).append(right.substr(options_.prefix.size()));
  const auto merged_id = vocabulary_.Find(merged);
  if (!merged_id) return missing(merged);
  merges_.Insert(*left_id, *right_id, {rank, *merged_id});
  merge_list_.push_back({*left_id, *right_id});
  return OkStatus();
}

void Bpe::Encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (options_.ignore_merges) {
    if (const auto whole = vocabulary_.Find(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  if (cache_.Find(word, ids)) return;
  std::vector<std::int32_t> symbols;
  symbols.reserve(word.size());
  AppendSymbols(word, symbols);
  merges_.Apply(symbols);
  cache_.Put(word, symbols.data(), symbols.size());
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

std::optional<std::int32_t> Bpe::SymbolOf(std::string_view piece, bool first, bool last, std::string& spelled) const {
  spelled.clear();
  if (!first) spelled += options_.prefix;
  spelled += piece;
  if (last) spelled += options_.suffix;
  return vocabulary_.Find(spelled);
}

void Bpe::AppendSymbols(std::string_view word, std::vector<std::int32_t>& symbols) const {
  const bool plain = options_.prefix.empty() && options_.suffix.empty();
  bool unknown_waits = false;  // an unknown token that later characters may still be fused with
  const auto flush = [&] {
    if (unknown_waits) symbols.push_back(*options_.unknown);
    unknown_waits = false;
  };
  std::string spelled;
  for (std::size_t at = 0; at < word.size();) {
    const std::size_t start = at;
    const char32_t c = NextCodePoint(word, at);
    if (plain && c < characters_.size() && characters_[c] != kNoToken) {
      flush();
      symbols.push_back(characters_[c]);
      continue;
    }
    const auto id = SymbolOf(word.substr(start, at - start), start == 0, at == word.size(), spelled);
    if (id) {
      flush();
      symbols.push_back(*id);
      continue;
    }
    // As in the package, a waiting unknown token comes behind the bytes.
    if (options_.byte_fallback && AppendByteTokens(byte_tokens_, spelled, symbols)) continue;
    if (!options_.unknown) continue;
    if (!options_.fuse_unknown) flush();
    unknown_waits = true;
  }
  flush();
}

void Bpe::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("BPE");
  fingerprint.Number(options_.unknown ? static_cast<std::uint64_t>(*options_.unknown) + 1 : 0);
  fingerprint.Text(options_.prefix);
  fingerprint.Text(options_.suffix);
  for (bool on : {options_.fuse_unknown, options_.byte_fallback, options_.ignore_merges}) fingerprint.Number(on);
  fingerprint.Number(merge_list_.size());
  for (const auto& pair : merge_list_) {
    for (std::int32_t id : pair) fingerprint.Number(static_cast<std::uint64_t>(id));
  }
  vocabulary_.AddTo(fingerprint);
}

}  // namespace fedpeft::text
