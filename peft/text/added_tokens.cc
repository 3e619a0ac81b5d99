#include "peft/text/added_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/text/json_object.h"
#include "peft/text/unicode.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

using nlohmann::json;

namespace {

/// Whether no `\w` touches [start, end) from outside.
bool StandsAlone(std::string_view text, std::size_t start, std::size_t end) {
  std::size_t before = start, after = end;
  const bool word_before = start > 0 && HasProperty(LastCodePoint(text, before), kWord);
  const bool word_after = end < text.size() && HasProperty(NextCodePoint(text, after), kWord);
  return !word_before && !word_after;
}

/// The start of the white space that ends at `end`.
std::size_t SpaceStart(std::string_view text, std::size_t end) {
  while (end > 0) {
    std::size_t before = end;
    if (!HasProperty(LastCodePoint(text, before), kSpace)) break;
    end = before;
  }
  return end;
}

/// The end of the white space that starts at `start`.
std::size_t SpaceEnd(std::string_view text, std::size_t start) {
  while (start < text.size()) {
    std::size_t after = start;
    if (!HasProperty(NextCodePoint(text, after), kSpace)) break;
    start = after;
  }
  return start;
}

Result<AddedToken> ReadToken(const json& config, const std::string& where) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, where));
  AddedToken token;
  ASSIGN_OR_RETURN(const std::int64_t id, object.Integer("id", 0, kMaxTokenId));
  token.id = static_cast<std::int32_t>(id);
  ASSIGN_OR_RETURN(token.content, object.String("content"));
  ASSIGN_OR_RETURN(token.single_word, object.Bool("single_word"));
  ASSIGN_OR_RETURN(token.lstrip, object.Bool("lstrip"));
  ASSIGN_OR_RETURN(token.rstrip, object.Bool("rstrip"));
  ASSIGN_OR_RETURN(token.normalized, object.Bool("normalized"));
  ASSIGN_OR_RETURN(token.special, object.Bool("special"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  if (token.content.empty()) return InvalidArgument(where + ".content: got \"\", want a text");
  return token;
}

/// Ids as the `tokenizers` package gives them: a model's token keeps its own; a new one gets the number of the model's
/// tokens, or one more than the largest added id if that is larger.
Status CheckIds(const std::vector<AddedToken>& tokens, const Vocabulary& vocabulary) {
  TokenIndex seen(tokens.size());
  std::int64_t next = static_cast<std::int64_t>(vocabulary.entries().size());
  for (const AddedToken& token : tokens) {
    const std::int64_t want = vocabulary.Find(token.content).value_or(static_cast<std::int32_t>(next));
    if (token.id != want) {
      return InvalidArgument("added_tokens: '" + token.content + "' has id " + std::to_string(token.id) + ", want " +
                             std::to_string(want));
    }
    if (!seen.Insert(token.content, token.id)) {
      return InvalidArgument("added_tokens: '" + token.content + "' is there twice, want it once");
    }
    next = std::max(next, want + 1);
  }
  return OkStatus();
}

}  // namespace

TokenMatcher::TokenMatcher(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {
  std::stable_sort(patterns_.begin(), patterns_.end(),
                   [](const Pattern& a, const Pattern& b) { return a.text < b.text; });
  const auto same = [](const Pattern& a, const Pattern& b) { return a.text == b.text; };
  patterns_.erase(std::unique(patterns_.begin(), patterns_.end(), same), patterns_.end());
  for (const Pattern& pattern : patterns_) starts_[static_cast<std::uint8_t>(pattern.text[0])] = true;
}

const TokenMatcher::Pattern* TokenMatcher::LongestAt(std::string_view text, std::size_t at) const {
  const Pattern* longest = nullptr;
  auto first = patterns_.begin(), last = patterns_.end();
  // Narrows [first, last) to the patterns that share one byte more with the text; the shortest of them sorts first.
  for (std::size_t depth = 0; at + depth < text.size(); ++depth) {
    const auto byte = static_cast<std::uint8_t>(text[at + depth]);
    const auto byte_of = [depth](const Pattern& pattern) {
      return depth < pattern.text.size() ? static_cast<std::uint8_t>(pattern.text[depth]) : -1;
    };
    first = std::partition_point(first, last, [&](const Pattern& pattern) { return byte_of(pattern) < byte; });
    last = std::partition_point(first, last, [&](const Pattern& pattern) { return byte_of(pattern) <= byte; });
    if (first == last) break;
    if (first->text.size() == depth + 1) longest = &*first;
  }
  return longest;
}

void TokenMatcher::Split(std::string_view text, const std::vector<AddedToken>& tokens,
                         std::vector<TextPiece>& out) const {
  std::size_t done = 0;  // everything before is in a piece
  for (std::size_t at = 0; at < text.size();) {
    const Pattern* pattern = starts_[static_cast<std::uint8_t>(text[at])] ? LongestAt(text, at) : nullptr;
    if (pattern == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens[pattern->token];
    std::size_t start = at;
    std::size_t end = at + pattern->text.size();
    at = end;  // a discarded match is not searched again
    if (token.single_word && !StandsAlone(text, start, end)) continue;
    if (token.lstrip) start = std::max(SpaceStart(text, start), done);
    if (token.rstrip) end = SpaceEnd(text, end);
    if (done < start) out.push_back({text.substr(done, start - done), std::nullopt});
    out.push_back({text.substr(start, end - start), token.id});
    done = end;
  }
  if (done < text.size()) out.push_back({text.substr(done), std::nullopt});
}

Result<AddedTokens> AddedTokens::FromJson(const json& config, const Vocabulary& vocabulary,
                                          const Normalizer* normalizer) {
  if (!config.is_array()) return InvalidArgument("added_tokens: got " + Describe(config) + ", want an array");
  AddedTokens out;
  for (std::size_t i = 0; i < config.size(); ++i) {
    ASSIGN_OR_RETURN(AddedToken token, ReadToken(config[i], "added_tokens[" + std::to_string(i) + "]"));
    out.tokens_.push_back(std::move(token));
  }
  RETURN_IF_ERROR(CheckIds(out.tokens_, vocabulary));
  std::stable_partition(out.tokens_.begin(), out.tokens_.end(), [](const AddedToken& token) { return token.special; });

  std::vector<TokenMatcher::Pattern> raw, normalized;
  for (std::size_t i = 0; i < out.tokens_.size(); ++i) {
    const AddedToken& token = out.tokens_[i];
    NormalText surface{token.content};
    if (token.normalized && normalizer != nullptr) RETURN_IF_ERROR(normalizer->Normalize(surface));
    if (!surface.text.empty()) (token.normalized ? normalized : raw).push_back({surface.text, i});
    out.surfaces_.push_back(std::move(surface.text));
  }
  out.special_ = TokenIndex(out.tokens_.size());
  for (std::size_t i = 0; i < out.tokens_.size(); ++i) {
    out.by_id_.emplace_back(out.tokens_[i].id, i);
    if (out.tokens_[i].special) out.special_.Insert(out.tokens_[i].content, out.tokens_[i].id);
  }
  std::sort(out.by_id_.begin(), out.by_id_.end());
  out.raw_ = TokenMatcher(std::move(raw));
  out.normalized_ = TokenMatcher(std::move(normalized));
  return out;
}

const AddedToken* AddedTokens::WithId(std::int32_t id) const {
  const auto found = std::lower_bound(by_id_.begin(), by_id_.end(), std::pair(id, std::size_t{0}));
  return found == by_id_.end() || found->first != id ? nullptr : &tokens_[found->second];
}

std::optional<std::int32_t> AddedTokens::Find(std::string_view content) const {
  const auto found =
      std::find_if(tokens_.begin(), tokens_.end(), [&](const AddedToken& t) { return t.content == content; });
  return found == tokens_.end() ? std::nullopt : std::optional(found->id);
}

const std::string& AddedTokens::SurfaceOf(const AddedToken& token) const {
  return surfaces_[static_cast<std::size_t>(&token - tokens_.data())];
}

void AddedTokens::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Number(tokens_.size());
  for (const AddedToken& token : tokens_) {
    fingerprint.Number(static_cast<std::uint64_t>(token.id));
    fingerprint.Text(token.content);
    for (bool on : {token.single_word, token.lstrip, token.rstrip, token.normalized}) fingerprint.Number(on);
  }
}

}  // namespace fedpeft::text
