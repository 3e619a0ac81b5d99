#include "peft/text/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/core/files.h"
#include "peft/text/added_tokens.h"
#include "peft/text/decoder.h"
#include "peft/text/json_object.h"
#include "peft/text/normalizer.h"
#include "peft/text/post_processor.h"
#include "peft/text/pre_tokenizer.h"
#include "peft/text/token_model.h"
#include "peft/text/utf8.h"

namespace fedpeft {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{128} << 20;

/// Puts texts and special tokens in the template's order.
Encoding Assemble(const text::PostProcessor::Template& pieces, std::span<const std::int32_t> first,
                  std::span<const std::int32_t> second, bool want_special_mask) {
  using Kind = text::TemplatePiece::Kind;
  Encoding out;
  for (const text::TemplatePiece& piece : pieces) {
    const bool special = piece.kind == Kind::kSpecial;
    const std::span<const std::int32_t> ids = special ? piece.ids : piece.kind == Kind::kFirst ? first : second;
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.type_ids.insert(out.type_ids.end(), ids.size(), piece.type_id);
    if (want_special_mask) out.special_mask.insert(out.special_mask.end(), ids.size(), special ? 1 : 0);
  }
  return out;
}

}  // namespace

struct Tokenizer::Parts {
  std::unique_ptr<text::Normalizer> normalizer;       // null: none
  std::unique_ptr<text::PreTokenizer> pre_tokenizer;  // null: a piece is one word
  std::unique_ptr<text::TokenModel> model;
  text::AddedTokens added;
  text::PostProcessor post_processor;
  std::unique_ptr<text::Decoder> decoder;  // null: tokens are joined by spaces
  std::size_t vocab_size = 0;
  Digest hash{};

  static Result<Parts> FromJson(const json& document);
  void Seal();

  std::optional<std::int32_t> TokenId(std::string_view token) const;
  /// All stages but the post-processor, on text of any bytes.
  Result<Ids> IdsOf(std::string_view text) const;
  Status AppendIds(std::string_view text, Ids& ids) const;
  Status AppendNormalized(const text::NormalText& normal, text::Words& words, Ids& ids) const;
  Status AppendWords(std::string_view piece, bool at_start, text::Words& words, Ids& ids) const;
};

Result<Tokenizer::Parts> Tokenizer::Parts::FromJson(const json& document) {
  ASSIGN_OR_RETURN(text::JsonObject object, text::JsonObject::Of(document, "tokenizer"));
  for (const char* ignored : {"version", "truncation", "padding"}) object.Optional(ignored);
  const json* normalizer = object.Optional("normalizer");
  const json* pre_tokenizer = object.Optional("pre_tokenizer");
  const json* post_processor = object.Optional("post_processor");
  const json* decoder = object.Optional("decoder");
  const json* added_tokens = object.Optional("added_tokens");
  ASSIGN_OR_RETURN(const json* model, object.Required("model"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());

  Parts parts;
  if (normalizer != nullptr) {
    ASSIGN_OR_RETURN(parts.normalizer, text::MakeNormalizer(*normalizer));
  }
  if (pre_tokenizer != nullptr) {
    ASSIGN_OR_RETURN(parts.pre_tokenizer, text::MakePreTokenizer(*pre_tokenizer));
  }
  ASSIGN_OR_RETURN(parts.model, text::MakeTokenModel(*model));
  if (added_tokens != nullptr) {
    ASSIGN_OR_RETURN(parts.added,
                     text::AddedTokens::FromJson(*added_tokens, parts.model->vocabulary(), parts.normalizer.get()));
  }
  if (post_processor != nullptr) {
    const auto lookup = [&parts](std::string_view token) { return parts.TokenId(token); };
    ASSIGN_OR_RETURN(parts.post_processor, text::MakePostProcessor(*post_processor, lookup));
  }
  if (decoder != nullptr) {
    ASSIGN_OR_RETURN(parts.decoder, text::MakeDecoder(*decoder));
  }
  parts.Seal();
  return parts;
}

/// Computes what is asked for often.
void Tokenizer::Parts::Seal() {
  std::int32_t largest = model->vocabulary().entries().back().id;
  for (const text::AddedToken& token : added.tokens()) largest = std::max(largest, token.id);
  vocab_size = static_cast<std::size_t>(largest) + 1;

  Fingerprint fingerprint;
  fingerprint.Text("fedpeft tokenizer 1");
  fingerprint.Number(normalizer != nullptr);
  if (normalizer) normalizer->AddTo(fingerprint);
  fingerprint.Number(pre_tokenizer != nullptr);
  if (pre_tokenizer) pre_tokenizer->AddTo(fingerprint);
  model->AddTo(fingerprint);
  added.AddTo(fingerprint);
  post_processor.AddTo(fingerprint);
  hash = fingerprint.Finish();
}

std::optional<std::int32_t> Tokenizer::Parts::TokenId(std::string_view token) const {
  const auto id = model->vocabulary().Find(token);
  return id ? id : added.Find(token);
}

Result<Ids> Tokenizer::Parts::IdsOf(std::string_view text) const {
  Ids ids;
  if (text::IsValidUtf8(text)) {
    RETURN_IF_ERROR(AppendIds(text, ids));
  } else {
    RETURN_IF_ERROR(AppendIds(text::ReplaceInvalidUtf8(text), ids));
  }
  return ids;
}

Status Tokenizer::Parts::AppendIds(std::string_view text, Ids& ids) const {
  text::Words words;
  std::vector<text::TextPiece> pieces;
  added.raw().Split(text, added.tokens(), pieces);
  text::NormalText normal;
  for (const text::TextPiece& piece : pieces) {
    if (piece.id) {
      ids.push_back(*piece.id);
      continue;
    }
    normal.text.assign(piece.text);
    normal.at_start = piece.text.data() == text.data();
    if (normalizer) RETURN_IF_ERROR(normalizer->Normalize(normal));
    RETURN_IF_ERROR(AppendNormalized(normal, words, ids));
  }
  return OkStatus();
}

Status Tokenizer::Parts::AppendNormalized(const text::NormalText& normal, text::Words& words, Ids& ids) const {
  if (added.normalized().empty()) return AppendWords(normal.text, normal.at_start, words, ids);
  std::vector<text::TextPiece> pieces;
  added.normalized().Split(normal.text, added.tokens(), pieces);
  for (const text::TextPiece& piece : pieces) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      const bool at_start = normal.at_start && piece.text.data() == normal.text.data();
      RETURN_IF_ERROR(AppendWords(piece.text, at_start, words, ids));
    }
  }
  return OkStatus();
}

Status Tokenizer::Parts::AppendWords(std::string_view piece, bool at_start, text::Words& words, Ids& ids) const {
  if (piece.empty()) return OkStatus();
  words.text.assign(piece);
  words.ranges.assign(1, {0, piece.size()});
  words.at_start = at_start;
  if (pre_tokenizer) RETURN_IF_ERROR(pre_tokenizer->Split(words));
  for (const text::Words::Range& range : words.ranges) model->Encode(words.WordAt(range), ids);
  return OkStatus();
}

Result<Tokenizer> Tokenizer::FromFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path, kMaxFileBytes));
  Result<Tokenizer> tokenizer = FromJson(content);
  if (!tokenizer.ok()) return tokenizer.status().Annotate(path);
  return tokenizer;
}

Result<Tokenizer> Tokenizer::FromJson(std::string_view content) {
  ASSIGN_OR_RETURN(const json document, text::ParseJson(content));
  ASSIGN_OR_RETURN(Parts parts, Parts::FromJson(document));
  return Tokenizer(std::make_shared<const Parts>(std::move(parts)));
}

Result<Encoding> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  return EncodeTexts(text, nullptr, options);
}

Result<Encoding> Tokenizer::EncodePair(std::string_view first, std::string_view second,
                                       const EncodeOptions& options) const {
  return EncodeTexts(first, &second, options);
}

Result<Encoding> Tokenizer::EncodeTexts(std::string_view first, const std::string_view* second,
                                        const EncodeOptions& options) const {
  const bool pair = second != nullptr;
  ASSIGN_OR_RETURN(const Ids a, parts_->IdsOf(first));
  Ids b;
  if (pair) {
    ASSIGN_OR_RETURN(b, parts_->IdsOf(*second));
  }
  text::KeptLengths kept{a.size(), b.size()};
  if (options.max_length) {
    const std::size_t special = options.add_special_tokens ? parts_->post_processor.AddedTokens(pair) : 0;
    if (*options.max_length < special) {
      return InvalidArgument("max_length: got " + std::to_string(*options.max_length) + ", want at least the " +
                             std::to_string(special) + " special tokens");
    }
    ASSIGN_OR_RETURN(kept, text::Truncate(a.size(), pair ? std::optional(b.size()) : std::nullopt,
                                          *options.max_length - special, options.truncation));
  }
  const auto keep = [&](const Ids& ids, std::size_t count) {
    return options.truncate_left ? std::span(ids).last(count) : std::span(ids).first(count);
  };
  return Assemble(parts_->post_processor.For(pair, options.add_special_tokens), keep(a, kept.first),
                  keep(b, kept.second), options.want_special_mask);
}

std::string Tokenizer::Decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  for (std::int32_t id : ids) {
    if (const text::AddedToken* token = parts_->added.WithId(id)) {
      const std::string& surface = parts_->added.SurfaceOf(*token);
      if (!skip_special_tokens || !parts_->added.IsSpecial(surface)) tokens.push_back(surface);
    } else if (const auto text = parts_->model->vocabulary().TokenOf(id)) {
      tokens.emplace_back(*text);
    }
  }
  if (parts_->decoder) parts_->decoder->Decode(tokens);
  std::string out;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!parts_->decoder && i != 0) out.push_back(' ');
    out += tokens[i];
  }
  return out;
}

std::size_t Tokenizer::vocab_size() const {
  return parts_->vocab_size;
}

std::optional<std::int32_t> Tokenizer::TokenId(std::string_view token) const {
  return parts_->TokenId(token);
}

const Digest& Tokenizer::hash() const {
  return parts_->hash;
}

}  // namespace fedpeft
