#include "peft/text/unigram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "peft/text/byte_token.h"
#include "peft/text/json_object.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

using nlohmann::json;

namespace {

// An unknown character scores so much less than the worst token.
constexpr double kUnknownPenalty = 10;
constexpr int kLargestPower = 308;

/// 10^exponent, rounded once, which std::pow does not promise. Pre: 0 ≤ exponent ≤ 308.
double PowerOfTen(int exponent) {
  const std::string text = "1e" + std::to_string(exponent);
  double power = 0;
  std::from_chars(text.data(), text.data() + text.size(), power);
  return power;
}

/// The number that `tokenizers` has read: serde_json takes the digits for an integer and multiplies or divides it by a power
/// of ten, which rounds twice. Where two segmentations score alike ("-----"), the last bit decides. Source: f64_from_parts
/// of serde_json without `float_roundtrip`. The digits are the shortest that mean `value`, as both write them.
double AsTokenizersReads(double value) {
  std::array<char, 32> text{};
  const char* end =
      std::to_chars(text.data(), text.data() + text.size(), std::abs(value), std::chars_format::scientific).ptr;
  std::uint64_t digits = 0;
  int exponent = 0;
  const char* at = text.data();
  for (bool fraction = false; at != end && *at != 'e'; ++at) {
    fraction = fraction || *at == '.';
    if (*at == '.') continue;
    digits = digits * 10 + static_cast<std::uint64_t>(*at - '0');
    exponent -= fraction ? 1 : 0;
  }
  int written = 0;
  at += at[1] == '+' ? 2 : 1;  // from_chars takes no plus
  std::from_chars(at, end, written);
  exponent += written;
  auto read = static_cast<double>(digits);
  for (; exponent < -kLargestPower; exponent += kLargestPower) read /= PowerOfTen(kLargestPower);
  read = exponent < 0 ? read / PowerOfTen(-exponent) : read * PowerOfTen(exponent);
  return std::copysign(read, value);
}

/// `["token", score]`, its id being its place.
Result<std::vector<double>> ReadScores(const json& list, json& ids) {
  std::vector<double> scores;
  scores.reserve(list.size());
  for (const json& entry : list) {
    const std::string where = "model.vocab[" + std::to_string(scores.size()) + "]";
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return InvalidArgument(where + ": got " + Describe(entry) + ", want [\"token\", score]");
    }
    const auto& token = entry[0].get_ref<const std::string&>();
    if (token.empty()) return InvalidArgument(where + ": got an empty token, want a text");
    if (!ids.emplace(token, scores.size()).second) {
      return InvalidArgument(where + ": '" + token + "' is there twice, want it once");
    }
    scores.push_back(AsTokenizersReads(entry[1].get<double>()));
    if (!std::isfinite(scores.back())) return InvalidArgument(where + ": the score is not finite");
  }
  return scores;
}

}  // namespace

Result<std::unique_ptr<TokenModel>> Unigram::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(const json* list, object.Array("vocab", std::size_t{kMaxTokenId}));
  json ids = json::object();
  ASSIGN_OR_RETURN(std::vector<double> scores, ReadScores(*list, ids));
  ASSIGN_OR_RETURN(const std::int64_t unknown,
                   object.Integer("unk_id", 0, static_cast<std::int64_t>(scores.size()) - 1));
  bool byte_fallback = false;
  if (object.Optional("byte_fallback") != nullptr) {
    ASSIGN_OR_RETURN(byte_fallback, object.Bool("byte_fallback"));
  }
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromJson(ids, "model.vocab"));
  return std::unique_ptr<TokenModel>(
      new Unigram(std::move(vocabulary), std::move(scores), static_cast<std::int32_t>(unknown), byte_fallback));
}

Unigram::Unigram(Vocabulary vocabulary, std::vector<double> scores, std::int32_t unknown, bool byte_fallback)
    : vocabulary_(std::move(vocabulary)),
      scores_(std::move(scores)),
      unknown_score_(*std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty),
      unknown_(unknown) {
  std::vector<std::pair<std::string_view, std::int32_t>> entries;
  for (const Vocabulary::Entry& entry : vocabulary_.entries()) entries.emplace_back(entry.text, entry.id);
  trie_ = ByteTrie(std::move(entries));
  if (byte_fallback) byte_tokens_ = FindByteTokens(vocabulary_);
}

void Unigram::Encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (cache_.Find(word, ids)) return;
  const std::vector<Step> steps = BestSteps(word);
  std::vector<std::size_t> ends;  // of the pieces, the last first; neighbouring unknown characters are one
  bool in_unknown = false;
  for (std::size_t end = word.size(); end > 0; end = steps[end].start) {
    const bool unknown = steps[end].id == unknown_;
    if (!unknown || !in_unknown) ends.push_back(end);
    in_unknown = unknown;
  }
  const std::size_t before = ids.size();
  std::size_t start = 0;
  for (auto end = ends.rbegin(); end != ends.rend(); ++end) {
    AppendPiece(word.substr(start, *end - start), ids);
    start = *end;
  }
  cache_.Put(word, ids.data() + before, ids.size() - before);
}

std::vector<Unigram::Step> Unigram::BestSteps(std::string_view word) const {
  std::vector<Step> steps(word.size() + 1);
  for (std::size_t start = 0; start < word.size();) {
    const double so_far = steps[start].score;
    const auto offer = [&](std::size_t length, double score, std::int32_t id) {
      Step& step = steps[start + length];
      if (step.id < 0 || score + so_far > step.score) step = {score + so_far, start, id};
    };
    std::size_t next = start;
    NextCodePoint(word, next);
    bool has_character = false;  // as a token
    trie_.ForEachPrefix(word.substr(start), [&](std::size_t length, std::int32_t id) {
      offer(length, scores_[static_cast<std::size_t>(id)], id);
      has_character = has_character || start + length == next;
    });
    if (!has_character) offer(next - start, unknown_score_, unknown_);
    start = next;
  }
  return steps;
}

void Unigram::AppendPiece(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (const auto id = vocabulary_.Find(piece)) {
    ids.push_back(*id);
  } else if (byte_tokens_.empty() || !AppendByteTokens(byte_tokens_, piece, ids)) {
    ids.push_back(unknown_);
  }
}

void Unigram::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Unigram");
  fingerprint.Number(static_cast<std::uint64_t>(unknown_));
  fingerprint.Number(!byte_tokens_.empty());
  for (double score : scores_) fingerprint.Number(std::bit_cast<std::uint64_t>(score));
  vocabulary_.AddTo(fingerprint);
}

}  // namespace fedpeft::text
