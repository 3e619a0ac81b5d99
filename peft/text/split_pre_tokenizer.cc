#include "peft/text/split_pre_tokenizer.h"

#include <nlohmann/json.hpp>

#include "peft/text/json_object.h"
#include "peft/text/regex_pattern.h"

namespace fedpeft::text {

Result<std::string> ReadPattern(JsonObject& object) {
  ASSIGN_OR_RETURN(const nlohmann::json* value, object.Required("pattern"));
  ASSIGN_OR_RETURN(JsonObject pattern, JsonObject::Of(*value, object.where() + ".pattern"));
  const bool literal = pattern.Optional("String") != nullptr;
  ASSIGN_OR_RETURN(std::string text, pattern.String(literal ? "String" : "Regex"));
  RETURN_IF_ERROR(pattern.RefuseOtherKeys());
  if (!literal) return text;
  if (text.empty()) return InvalidArgument(pattern.where() + ".String: got \"\", want a text");
  return EscapePattern(text);
}

Result<std::unique_ptr<PreTokenizer>> SplitPreTokenizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(std::string pattern, ReadPattern(object));
  ASSIGN_OR_RETURN(const SplitBehavior behavior, ReadSplitBehavior(object));
  ASSIGN_OR_RETURN(const bool invert, object.Bool("invert"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  Result<Regex> regex = Regex::Compile(pattern);
  if (!regex.ok()) return regex.status().Annotate(object.where());
  return std::unique_ptr<PreTokenizer>(new SplitPreTokenizer(std::move(pattern), *std::move(regex), behavior, invert));
}

Status SplitPreTokenizer::Split(Words& words) const {
  return CutWords(words, [this](std::string_view word, std::vector<Span>& spans) {
    RETURN_IF_ERROR(regex_.Cut(word, spans));
    if (invert_) {
      for (Span& span : spans) span.is_match = !span.is_match;
    }
    ApplySplitBehavior(behavior_, spans);
    return OkStatus();
  });
}

void SplitPreTokenizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Split");
  fingerprint.Text(pattern_);
  fingerprint.Number(static_cast<std::uint64_t>(behavior_));
  fingerprint.Number(invert_);
}

}  // namespace fedpeft::text
