#include "peft/text/post_processor.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "peft/text/byte_level.h"
#include "peft/text/json_object.h"
#include "peft/text/vocabulary.h"

namespace fedpeft::text {

using nlohmann::json;
using Kind = TemplatePiece::Kind;

namespace {

constexpr std::int64_t kMaxTypeId = 255;
constexpr std::size_t kMaxPieces = 64;

using SpecialTokens = std::map<std::string, std::vector<std::int32_t>>;

PostProcessor::Template Bare(const PostProcessor::Template& pieces) {
  PostProcessor::Template out = pieces;
  std::erase_if(out, [](const TemplatePiece& piece) { return piece.kind == Kind::kSpecial; });
  return out;
}

Status CheckToken(const std::string& where, const std::string& token, std::int64_t id, const TokenLookup& lookup) {
  const auto known = lookup(token);
  if (known && *known == id) return OkStatus();
  return InvalidArgument(where + ": token '" + token + "' has id " + std::to_string(id) + ", want " +
                         (known ? std::to_string(*known) : "a token of the vocabulary"));
}

/// `{"id": …, "ids": [..], "tokens": [..]}`, as many tokens as ids.
Result<std::vector<std::int32_t>> ReadSpecialToken(const json& config, const std::string& where,
                                                   const TokenLookup& lookup) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, where));
  object.Optional("id");  // repeats the key
  ASSIGN_OR_RETURN(const json* ids, object.Required("ids"));
  ASSIGN_OR_RETURN(const json* tokens, object.Required("tokens"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  if (!ids->is_array() || !tokens->is_array() || ids->size() != tokens->size() || ids->size() > kMaxPieces) {
    return InvalidArgument(where + ": want two arrays 'ids' and 'tokens' of equal length, at most " +
                           std::to_string(kMaxPieces));
  }
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < ids->size(); ++i) {
    const json& id = (*ids)[i];
    const json& token = (*tokens)[i];
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::uint64_t{kMaxTokenId} || !token.is_string()) {
      return InvalidArgument(where + ": got id " + Describe(id) + " for token " + Describe(token) +
                             ", want an id from 0 to " + std::to_string(kMaxTokenId) + " and a string");
    }
    RETURN_IF_ERROR(CheckToken(where, token.get<std::string>(), id.get<std::int64_t>(), lookup));
    out.push_back(id.get<std::int32_t>());
  }
  return out;
}

Result<SpecialTokens> ReadSpecialTokens(const json& config, const TokenLookup& lookup) {
  const std::string where = "post_processor.special_tokens";
  if (!config.is_object()) return InvalidArgument(where + ": got " + Describe(config) + ", want an object");
  SpecialTokens out;
  for (const auto& item : config.items()) {
    ASSIGN_OR_RETURN(out[item.key()], ReadSpecialToken(item.value(), where + "['" + item.key() + "']", lookup));
  }
  return out;
}

Result<TemplatePiece> ReadPiece(const json& config, const std::string& where, const SpecialTokens& special) {
  ASSIGN_OR_RETURN(JsonObject tagged, JsonObject::Of(config, where));
  const json* text = tagged.Optional("Sequence");
  const json* token = tagged.Optional("SpecialToken");
  RETURN_IF_ERROR(tagged.RefuseOtherKeys());
  if ((text == nullptr) == (token == nullptr)) {
    return InvalidArgument(where + ": want either 'Sequence' or 'SpecialToken'");
  }
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(text != nullptr ? *text : *token, where));
  ASSIGN_OR_RETURN(const std::string id, object.String("id"));
  ASSIGN_OR_RETURN(const std::int64_t type_id, object.Integer("type_id", 0, kMaxTypeId));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  TemplatePiece piece{Kind::kSpecial, static_cast<std::int32_t>(type_id), {}};
  if (text != nullptr) {
    if (id != "A" && id != "B") return InvalidArgument(where + ".Sequence.id: got '" + id + "', want 'A' or 'B'");
    piece.kind = id == "A" ? Kind::kFirst : Kind::kSecond;
    return piece;
  }
  const auto found = special.find(id);
  if (found == special.end()) return InvalidArgument(where + ": special token '" + id + "' is not in special_tokens");
  piece.ids = found->second;
  return piece;
}

Result<PostProcessor::Template> ReadTemplate(const json& config, const std::string& where,
                                             const SpecialTokens& special) {
  if (!config.is_array() || config.size() > kMaxPieces) {
    return InvalidArgument(where + ": got " + Describe(config) + ", want an array of at most " +
                           std::to_string(kMaxPieces) + " pieces");
  }
  PostProcessor::Template out;
  for (std::size_t i = 0; i < config.size(); ++i) {
    ASSIGN_OR_RETURN(out.emplace_back(), ReadPiece(config[i], where + "[" + std::to_string(i) + "]", special));
  }
  return out;
}

/// Each text exactly once: a template that repeats or forgets one would make truncation lie.
Status CheckTexts(const PostProcessor::Template& pieces, bool pair, const std::string& where) {
  const auto count = [&](Kind kind) {
    return std::count_if(pieces.begin(), pieces.end(), [&](const TemplatePiece& piece) { return piece.kind == kind; });
  };
  if (count(Kind::kFirst) == 1 && count(Kind::kSecond) == (pair ? 1 : 0)) return OkStatus();
  return InvalidArgument(where + ": want sequence A " + (pair ? "and sequence B once each" : "once and no sequence B"));
}

Result<PostProcessor> ReadTemplateProcessing(JsonObject& object, const TokenLookup& lookup) {
  ASSIGN_OR_RETURN(const json* tokens, object.Required("special_tokens"));
  ASSIGN_OR_RETURN(const json* single, object.Required("single"));
  ASSIGN_OR_RETURN(const json* pair, object.Required("pair"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  ASSIGN_OR_RETURN(const SpecialTokens special, ReadSpecialTokens(*tokens, lookup));
  ASSIGN_OR_RETURN(PostProcessor::Template one, ReadTemplate(*single, "post_processor.single", special));
  ASSIGN_OR_RETURN(PostProcessor::Template two, ReadTemplate(*pair, "post_processor.pair", special));
  RETURN_IF_ERROR(CheckTexts(one, false, "post_processor.single"));
  RETURN_IF_ERROR(CheckTexts(two, true, "post_processor.pair"));
  return PostProcessor(std::move(one), std::move(two));
}

/// `["[SEP]", 102]`.
Result<std::vector<std::int32_t>> ReadTokenAndId(JsonObject& object, std::string_view key, const TokenLookup& lookup) {
  ASSIGN_OR_RETURN(const json* value, object.Required(key));
  const std::string where = "post_processor." + std::string(key);
  if (!value->is_array() || value->size() != 2 || !(*value)[0].is_string() || !(*value)[1].is_number_unsigned() ||
      (*value)[1].get<std::uint64_t>() > std::uint64_t{kMaxTokenId}) {
    return InvalidArgument(where + ": got " + Describe(*value) + ", want [\"token\", id]");
  }
  const auto id = (*value)[1].get<std::int32_t>();
  RETURN_IF_ERROR(CheckToken(where, (*value)[0].get<std::string>(), id, lookup));
  return std::vector<std::int32_t>{id};
}

Result<PostProcessor> ReadBertProcessing(JsonObject& object, const TokenLookup& lookup) {
  ASSIGN_OR_RETURN(const auto sep, ReadTokenAndId(object, "sep", lookup));
  ASSIGN_OR_RETURN(const auto cls, ReadTokenAndId(object, "cls", lookup));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  PostProcessor::Template single = {{Kind::kSpecial, 0, cls}, {Kind::kFirst, 0, {}}, {Kind::kSpecial, 0, sep}};
  PostProcessor::Template pair = single;
  pair.push_back({Kind::kSecond, 1, {}});
  pair.push_back({Kind::kSpecial, 1, sep});
  return PostProcessor(std::move(single), std::move(pair));
}

/// The order is `<s> A </s></s> B </s>`; RoBERTa has no type ids.
Result<PostProcessor> ReadRobertaProcessing(JsonObject& object, const TokenLookup& lookup) {
  ASSIGN_OR_RETURN(const auto sep, ReadTokenAndId(object, "sep", lookup));
  ASSIGN_OR_RETURN(const auto cls, ReadTokenAndId(object, "cls", lookup));
  for (const char* about_offsets : {"trim_offsets", "add_prefix_space"}) {
    RETURN_IF_ERROR(object.Bool(about_offsets).status());
  }
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  PostProcessor::Template single = {{Kind::kSpecial, 0, cls}, {Kind::kFirst, 0, {}}, {Kind::kSpecial, 0, sep}};
  PostProcessor::Template pair = single;
  pair.push_back({Kind::kSpecial, 0, sep});
  pair.push_back({Kind::kSecond, 0, {}});
  pair.push_back({Kind::kSpecial, 0, sep});
  return PostProcessor(std::move(single), std::move(pair));
}

/// At most one member may be more than ByteLevel, which is about offsets only.
Result<PostProcessor> ReadSequence(JsonObject& object, const TokenLookup& lookup) {
  ASSIGN_OR_RETURN(const json* members, object.Array("processors", kMostStages));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  PostProcessor out;
  bool decided = false;
  for (std::size_t i = 0; i < members->size(); ++i) {
    const json& member = (*members)[i];
    const std::string where = object.where() + ".processors[" + std::to_string(i) + "]";
    ASSIGN_OR_RETURN(PostProcessor processor, MakePostProcessor(member, lookup, where));
    if (member["type"] == "ByteLevel") continue;
    if (decided) return Unimplemented(where + ": a second post-processor that adds tokens is not built in");
    decided = true;
    out = std::move(processor);
  }
  return out;
}

void AddTemplate(const PostProcessor::Template& pieces, Fingerprint& fingerprint) {
  fingerprint.Number(pieces.size());
  for (const TemplatePiece& piece : pieces) {
    fingerprint.Number(static_cast<std::uint64_t>(piece.kind));
    fingerprint.Number(static_cast<std::uint64_t>(piece.type_id));
    fingerprint.Number(piece.ids.size());
    for (std::int32_t id : piece.ids) fingerprint.Number(static_cast<std::uint64_t>(id));
  }
}

}  // namespace

PostProcessor::PostProcessor()
    : PostProcessor({{Kind::kFirst, 0, {}}}, {{Kind::kFirst, 0, {}}, {Kind::kSecond, 1, {}}}) {}

PostProcessor::PostProcessor(Template single, Template pair)
    : single_(std::move(single)), pair_(std::move(pair)), bare_single_(Bare(single_)), bare_pair_(Bare(pair_)) {}

const PostProcessor::Template& PostProcessor::For(bool pair, bool add_special_tokens) const {
  if (add_special_tokens) return pair ? pair_ : single_;
  return pair ? bare_pair_ : bare_single_;
}

std::size_t PostProcessor::AddedTokens(bool pair) const {
  std::size_t count = 0;
  for (const TemplatePiece& piece : pair ? pair_ : single_) count += piece.ids.size();
  return count;
}

void PostProcessor::AddTo(Fingerprint& fingerprint) const {
  AddTemplate(single_, fingerprint);
  AddTemplate(pair_, fingerprint);
}

Result<PostProcessor> MakePostProcessor(const json& config, const TokenLookup& lookup, const std::string& where) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, where));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "TemplateProcessing") return ReadTemplateProcessing(object, lookup);
  if (type == "BertProcessing") return ReadBertProcessing(object, lookup);
  if (type == "RobertaProcessing") return ReadRobertaProcessing(object, lookup);
  if (type == "ByteLevel") {
    RETURN_IF_ERROR(ReadByteLevelSettings(object).status());
    return PostProcessor();
  }
  if (type == "Sequence") return ReadSequence(object, lookup);
  return UnknownType(where, type, "BertProcessing, ByteLevel, RobertaProcessing, Sequence or TemplateProcessing");
}

}  // namespace fedpeft::text
