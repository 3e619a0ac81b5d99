#include "peft/text/text_normalizers.h"

#include "peft/text/json_object.h"
#include "peft/text/split_pre_tokenizer.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

Result<std::unique_ptr<Normalizer>> PrependNormalizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(std::string prepended, object.String("prepend"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<Normalizer>(std::make_unique<PrependNormalizer>(std::move(prepended)));
}

Status PrependNormalizer::Normalize(NormalText& normal) const {
  if (!normal.text.empty()) normal.text.insert(0, prepended_);
  return OkStatus();
}

void PrependNormalizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Prepend");
  fingerprint.Text(prepended_);
}

Result<std::unique_ptr<Normalizer>> ReplaceNormalizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(std::string pattern, ReadPattern(object));
  ASSIGN_OR_RETURN(std::string content, object.String("content"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  Result<Regex> regex = Regex::Compile(pattern);
  if (!regex.ok()) return regex.status().Annotate(object.where());
  return std::unique_ptr<Normalizer>(new ReplaceNormalizer(std::move(pattern), *std::move(regex), std::move(content)));
}

Status ReplaceNormalizer::Normalize(NormalText& normal) const {
  std::vector<Span> spans;
  RETURN_IF_ERROR(regex_.Cut(normal.text, spans));
  std::string out;
  out.reserve(normal.text.size() + normal.text.size() / 2);
  for (const Span& span : spans) {
    const std::string_view part = std::string_view(normal.text).substr(span.start, span.end - span.start);
    out += span.is_match ? std::string_view(content_) : part;
    // The package takes the content for the last character of the match.
    const bool moves_start = span.is_match && span.start == 0 && (content_.empty() || CountCodePoints(part) > 1);
    if (moves_start && !part.empty()) normal.at_start = false;
  }
  normal.text = std::move(out);
  return OkStatus();
}

void ReplaceNormalizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Replace");
  fingerprint.Text(pattern_);
  fingerprint.Text(content_);
}

}  // namespace fedpeft::text
