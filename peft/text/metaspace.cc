#include "peft/text/metaspace.h"

#include "peft/text/json_object.h"
#include "peft/text/replace_all.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

Result<MetaspaceSettings> MetaspaceSettings::FromJson(JsonObject& object) {
  MetaspaceSettings out;
  ASSIGN_OR_RETURN(out.replacement, object.String("replacement"));
  if (CountCodePoints(out.replacement) != 1) {
    return InvalidArgument(object.where() + ".replacement: got '" + out.replacement + "', want one character");
  }
  if (object.Optional("prepend_scheme") != nullptr) {
    ASSIGN_OR_RETURN(const std::string scheme, object.String("prepend_scheme"));
    if (scheme != "first" && scheme != "never" && scheme != "always") {
      return InvalidArgument(object.where() + ".prepend_scheme: got '" + scheme + "', want first, never or always");
    }
    out.prepend = scheme == "first" ? Prepend::kFirst : scheme == "never" ? Prepend::kNever : Prepend::kAlways;
  }
  if (object.Optional("split") != nullptr) {
    ASSIGN_OR_RETURN(out.split, object.Bool("split"));
  }
  object.Optional("str_rep");  // a copy of `replacement`
  if (object.Optional("add_prefix_space") != nullptr) {
    ASSIGN_OR_RETURN(const bool add, object.Bool("add_prefix_space"));
    if (!add && out.prepend != Prepend::kNever) {
      return InvalidArgument(object.where() + ": add_prefix_space is false, want prepend_scheme 'never' with it");
    }
  }
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return out;
}

Result<std::unique_ptr<PreTokenizer>> MetaspacePreTokenizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(MetaspaceSettings settings, MetaspaceSettings::FromJson(object));
  return std::unique_ptr<PreTokenizer>(std::make_unique<MetaspacePreTokenizer>(std::move(settings)));
}

Status MetaspacePreTokenizer::Split(Words& words) const {
  using Prepend = MetaspaceSettings::Prepend;
  Words out;
  out.text.reserve(words.text.size() + words.text.size() / 2 + settings_.replacement.size());
  out.at_start = words.at_start;
  for (std::size_t i = 0; i < words.ranges.size(); ++i) {
    const std::string_view word = words.WordAt(words.ranges[i]);
    const std::size_t start = out.text.size();
    const bool wanted =
        settings_.prepend == Prepend::kAlways || (settings_.prepend == Prepend::kFirst && i == 0 && words.at_start);
    if (wanted && !word.starts_with(' ') && !word.starts_with(settings_.replacement)) out.text += settings_.replacement;
    AppendReplacing(word, " ", settings_.replacement, out.text);
    AppendWords(start, out);
  }
  words = std::move(out);
  return OkStatus();
}

void MetaspacePreTokenizer::AppendWords(std::size_t start, Words& words) const {
  const std::string& mark = settings_.replacement;
  while (settings_.split) {  // every mark begins a word
    const std::size_t next = words.text.find(mark, start + 1);
    if (next == std::string::npos) break;
    words.ranges.push_back({start, next});
    start = next;
  }
  words.ranges.push_back({start, words.text.size()});
}

void MetaspacePreTokenizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Metaspace");
  fingerprint.Text(settings_.replacement);
  fingerprint.Number(static_cast<std::uint64_t>(settings_.prepend));
  fingerprint.Number(settings_.split);
}

Result<std::unique_ptr<Decoder>> MetaspaceDecoder::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(MetaspaceSettings settings, MetaspaceSettings::FromJson(object));
  return std::unique_ptr<Decoder>(std::make_unique<MetaspaceDecoder>(std::move(settings)));
}

void MetaspaceDecoder::Decode(std::vector<std::string>& tokens) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool prepended = i == 0 && settings_.prepend != MetaspaceSettings::Prepend::kNever;
    ReplaceAll(tokens[i], settings_.replacement, prepended ? "" : " ");
  }
}

}  // namespace fedpeft::text
