#include "peft/text/bert_normalizer.h"

#include <algorithm>

#include "peft/text/json_object.h"
#include "peft/text/normalization_forms.h"
#include "peft/text/unicode.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

/// The CJK blocks as the `tokenizers` package has them: extension E begins at U+2B920 there, not at U+2B820.
bool IsIdeograph(char32_t c) {
  return c >= 0x3400 &&
         ((c >= 0x4E00 && c <= 0x9FFF) || c <= 0x4DBF || (c >= 0xF900 && c <= 0xFAFF) ||
          (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) ||
          (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0x2F800 && c <= 0x2FA1F));
}

void StripAccents(std::u32string& text) {
  DecomposeCanonically(text);
  std::erase_if(text, [](char32_t c) { return (Properties(c) & kNonspacing) != 0; });
}

}  // namespace

Result<std::unique_ptr<Normalizer>> BertNormalizer::FromJson(JsonObject& object) {
  Options options;
  ASSIGN_OR_RETURN(options.clean_text, object.Bool("clean_text"));
  ASSIGN_OR_RETURN(options.handle_chinese_chars, object.Bool("handle_chinese_chars"));
  ASSIGN_OR_RETURN(options.lowercase, object.Bool("lowercase"));
  options.strip_accents = options.lowercase;  // null means: as `lowercase`
  if (object.Optional("strip_accents") != nullptr) {
    ASSIGN_OR_RETURN(options.strip_accents, object.Bool("strip_accents"));
  }
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<Normalizer>(std::make_unique<BertNormalizer>(options));
}

Status BertNormalizer::Normalize(NormalText& normal) const {
  normal.at_start = normal.at_start && !DropsStart(normal.text);
  if (IsAscii(normal.text)) {
    NormalizeAscii(normal.text);
  } else {
    NormalizeAny(normal.text);
  }
  return OkStatus();
}

bool BertNormalizer::DropsStart(std::string_view text) const {
  if (text.empty()) return false;
  std::size_t at = 0;
  const std::uint16_t properties = Properties(NextCodePoint(text, at));
  return (options_.clean_text && (properties & kRemoved) != 0) ||
         (options_.strip_accents && (properties & kNonspacing) != 0);
}

void BertNormalizer::NormalizeAny(std::string& text) const {
  std::u32string points = Clean(text);
  if (options_.strip_accents) StripAccents(points);
  if (options_.lowercase) Lowercase(points);
  text = ToUtf8(points);
}

void BertNormalizer::NormalizeAscii(std::string& text) const {
  std::size_t kept = 0;
  for (char c : text) {
    const std::uint16_t properties = Properties(static_cast<unsigned char>(c));
    if (options_.clean_text && (properties & kRemoved) != 0) continue;
    if (options_.clean_text && (properties & kSpace) != 0) c = ' ';
    if (options_.lowercase && (properties & kHasLowercase) != 0) c = static_cast<char>(c + ('a' - 'A'));
    text[kept++] = c;
  }
  text.resize(kept);
}

std::u32string BertNormalizer::Clean(const std::string& text) const {
  std::u32string out;
  out.reserve(text.size() + 8);
  for (std::size_t at = 0; at < text.size();) {
    char32_t c = NextCodePoint(text, at);
    const std::uint16_t properties = Properties(c);
    if (options_.clean_text && (properties & kRemoved) != 0) continue;
    if (options_.clean_text && (properties & kSpace) != 0) c = U' ';
    const bool apart = options_.handle_chinese_chars && IsIdeograph(c);
    if (apart) out.push_back(U' ');
    out.push_back(c);
    if (apart) out.push_back(U' ');
  }
  return out;
}

void BertNormalizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("BertNormalizer");
  for (bool on : {options_.clean_text, options_.handle_chinese_chars, options_.strip_accents, options_.lowercase}) {
    fingerprint.Number(on);
  }
}

}  // namespace fedpeft::text
