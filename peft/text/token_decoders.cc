#include "peft/text/token_decoders.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "peft/text/json_object.h"
#include "peft/text/replace_all.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

constexpr std::int64_t kMostStripped = 1000;

/// The replacements of the `tokenizers` package, in its order.
void CleanUp(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) ReplaceAll(text, from, to);
}

/// The byte that a token `<0xHH>` stands for.
std::optional<char> ByteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return std::nullopt;
  unsigned value = 0;
  const char* digits = token.data() + 3;
  const auto parsed = std::from_chars(digits, digits + 2, value, 16);
  if (parsed.ec != std::errc() || parsed.ptr != digits + 2) return std::nullopt;
  return static_cast<char>(value);
}

}  // namespace

Result<std::unique_ptr<Decoder>> WordPieceDecoder::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(std::string prefix, object.String("prefix"));
  ASSIGN_OR_RETURN(const bool cleanup, object.Bool("cleanup"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<Decoder>(std::make_unique<WordPieceDecoder>(std::move(prefix), cleanup));
}

void WordPieceDecoder::Decode(std::vector<std::string>& tokens) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i != 0) {
      if (token.starts_with(prefix_)) {
        token.erase(0, prefix_.size());
      } else {
        token.insert(0, 1, ' ');
      }
    }
    if (cleanup_) CleanUp(token);
  }
}

Result<std::unique_ptr<Decoder>> SuffixDecoder::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(std::string suffix, object.String("suffix"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  if (suffix.empty()) return InvalidArgument(object.where() + ".suffix: got \"\", want a text");
  return std::unique_ptr<Decoder>(std::make_unique<SuffixDecoder>(std::move(suffix)));
}

void SuffixDecoder::Decode(std::vector<std::string>& tokens) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) ReplaceAll(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
}

Result<std::unique_ptr<Decoder>> ReplaceDecoder::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(const nlohmann::json* value, object.Required("pattern"));
  ASSIGN_OR_RETURN(JsonObject pattern, JsonObject::Of(*value, object.where() + ".pattern"));
  ASSIGN_OR_RETURN(std::string from, pattern.String("String"));
  RETURN_IF_ERROR(pattern.RefuseOtherKeys());
  ASSIGN_OR_RETURN(std::string to, object.String("content"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  if (from.empty()) return InvalidArgument(pattern.where() + ".String: got \"\", want a text");
  return std::unique_ptr<Decoder>(std::make_unique<ReplaceDecoder>(std::move(from), std::move(to)));
}

void ReplaceDecoder::Decode(std::vector<std::string>& tokens) const {
  for (std::string& token : tokens) ReplaceAll(token, from_, to_);
}

Result<std::unique_ptr<Decoder>> StripDecoder::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(std::string content, object.String("content"));
  ASSIGN_OR_RETURN(const std::int64_t start, object.Integer("start", 0, kMostStripped));
  ASSIGN_OR_RETURN(const std::int64_t stop, object.Integer("stop", 0, kMostStripped));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  if (CountCodePoints(content) != 1) {
    return InvalidArgument(object.where() + ".content: got '" + content + "', want one character");
  }
  return std::unique_ptr<Decoder>(std::make_unique<StripDecoder>(std::move(content), static_cast<std::size_t>(start),
                                                                 static_cast<std::size_t>(stop)));
}

void StripDecoder::Decode(std::vector<std::string>& tokens) const {
  for (std::string& token : tokens) {
    for (std::size_t i = 0; i < start_ && token.starts_with(content_); ++i) token.erase(0, content_.size());
    for (std::size_t i = 0; i < stop_ && token.ends_with(content_); ++i) token.resize(token.size() - content_.size());
  }
}

void ByteFallbackDecoder::Decode(std::vector<std::string>& tokens) const {
  std::vector<std::string> out;
  std::string bytes;  // of the byte tokens just before
  const auto flush = [&] {
    if (IsValidUtf8(bytes)) {
      if (!bytes.empty()) out.push_back(bytes);
    } else {
      std::string replacement;
      AppendUtf8(kReplacement, replacement);
      out.insert(out.end(), bytes.size(), replacement);
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = ByteOfToken(token)) {
      bytes.push_back(*byte);
    } else {
      flush();
      out.push_back(std::move(token));
    }
  }
  flush();
  tokens = std::move(out);
}

void FuseDecoder::Decode(std::vector<std::string>& tokens) const {
  std::string out;
  for (const std::string& token : tokens) out += token;
  tokens.assign(1, std::move(out));
}

}  // namespace fedpeft::text
