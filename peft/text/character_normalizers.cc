#include "peft/text/character_normalizers.h"

#include <algorithm>

#include "peft/text/json_object.h"
#include "peft/text/normalization_forms.h"
#include "peft/text/unicode.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

constexpr char32_t kFirstUnstable = 0x300;  // no code point below it is changed by NFC
constexpr char32_t kDropped = 0xFFFFFFFF;   // no code point

/// Puts `change(c)` for every code point, or nothing where that is kDropped.
template <typename Change>
void ChangeEach(NormalText& normal, Change change) {
  std::string out;
  out.reserve(normal.text.size());
  for (std::size_t at = 0; at < normal.text.size();) {
    const bool first = at == 0;
    const char32_t c = change(NextCodePoint(normal.text, at));
    if (c != kDropped) {
      AppendUtf8(c, out);
    } else if (first) {
      normal.at_start = false;
    }
  }
  normal.text = std::move(out);
}

char32_t NmtOf(char32_t c) {
  const bool control =
      (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  if (control) return kDropped;
  const bool blank = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  return blank ? U' ' : c;
}

}  // namespace

Status UnicodeFormNormalizer::Normalize(NormalText& normal) const {
  if (IsAscii(normal.text)) return OkStatus();
  std::u32string points = ToCodePoints(normal.text);
  const bool stable = std::all_of(points.begin(), points.end(), [](char32_t c) { return c < kFirstUnstable; });
  if (stable && compose_ && !compatible_) return OkStatus();
  compatible_ ? DecomposeCompatibly(points) : DecomposeCanonically(points);
  if (compose_) Compose(points);
  normal.text = ToUtf8(points);
  return OkStatus();
}

void UnicodeFormNormalizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text(compatible_ ? (compose_ ? "NFKC" : "NFKD") : (compose_ ? "NFC" : "NFD"));
}

Status LowercaseNormalizer::Normalize(NormalText& normal) const {
  std::u32string points = ToCodePoints(normal.text);
  Lowercase(points);
  normal.text = ToUtf8(points);
  return OkStatus();
}

Status StripAccentsNormalizer::Normalize(NormalText& normal) const {
  ChangeEach(normal, [](char32_t c) { return HasProperty(c, kMark) ? kDropped : c; });
  return OkStatus();
}

Status NmtNormalizer::Normalize(NormalText& normal) const {
  ChangeEach(normal, NmtOf);
  return OkStatus();
}

Result<std::unique_ptr<Normalizer>> StripNormalizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(const bool left, object.Bool("strip_left"));
  ASSIGN_OR_RETURN(const bool right, object.Bool("strip_right"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<Normalizer>(std::make_unique<StripNormalizer>(left, right));
}

Status StripNormalizer::Normalize(NormalText& normal) const {
  std::string& text = normal.text;
  while (right_ && !text.empty()) {
    std::size_t end = text.size();
    if (!HasProperty(LastCodePoint(text, end), kSpace)) break;
    text.resize(end);
  }
  std::size_t start = 0;
  while (left_ && start < text.size()) {
    std::size_t after = start;
    if (!HasProperty(NextCodePoint(text, after), kSpace)) break;
    start = after;
  }
  if (start > 0) normal.at_start = false;
  text.erase(0, start);
  return OkStatus();
}

void StripNormalizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Strip");
  fingerprint.Number(left_);
  fingerprint.Number(right_);
}

}  // namespace fedpeft::text
