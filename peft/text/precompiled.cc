#include "peft/text/precompiled.h"

#include <algorithm>

#include "peft/text/graphemes.h"
#include "peft/text/json_object.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

// Longer clusters are looked up character by character.
constexpr std::size_t kLongestCluster = 5;

// The bit fields of a unit of a darts-clone trie.
bool HasLeaf(std::uint32_t unit) {
  return (unit >> 8 & 1) != 0;
}
std::uint32_t ValueOf(std::uint32_t unit) {
  return unit & 0x7FFFFFFF;
}
std::uint32_t LabelOf(std::uint32_t unit) {
  return unit & 0x800000FF;
}
std::uint32_t OffsetOf(std::uint32_t unit) {
  return unit >> 10 << ((unit & 0x200) >> 6);
}

/// Nothing when the text is not base64 with padding (RFC 4648).
std::optional<std::string> DecodeBase64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return std::nullopt;
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    const std::size_t digit = kDigits.find(c);
    if (digit == kDigits.npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xFF));
  }
  return out;
}

std::uint32_t UnitAt(std::string_view bytes, std::size_t at) {
  std::uint32_t out = 0;
  for (std::size_t i = 4; i > 0; --i) out = out << 8 | static_cast<std::uint8_t>(bytes[at + i - 1]);
  return out;
}

}  // namespace

Result<std::unique_ptr<Normalizer>> PrecompiledNormalizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(const std::string encoded, object.String("precompiled_charsmap"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  const std::string where = object.where() + ".precompiled_charsmap: ";
  const std::optional<std::string> table = DecodeBase64(encoded);
  if (!table) return InvalidArgument(where + "not base64");
  const std::string_view bytes = *table;
  const std::size_t size = bytes.size() < 4 ? 0 : UnitAt(bytes, 0);
  if (size == 0 || size % 4 != 0 || size > bytes.size() - 4) return InvalidArgument(where + "the trie is cut short");
  std::vector<std::uint32_t> units(size / 4);
  for (std::size_t i = 0; i < units.size(); ++i) units[i] = UnitAt(bytes, 4 + 4 * i);
  std::string replacements(bytes.substr(4 + size));
  if (!IsValidUtf8(replacements)) return InvalidArgument(where + "the replacements are not UTF-8");
  return std::unique_ptr<Normalizer>(new PrecompiledNormalizer(std::move(units), std::move(replacements)));
}

std::optional<std::string_view> PrecompiledNormalizer::ReplacementOf(std::string_view text) const {
  std::size_t at = OffsetOf(units_[0]);
  for (char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    at ^= byte;
    if (byte == 0 || at >= units_.size() || LabelOf(units_[at]) != byte) return std::nullopt;
    const std::uint32_t unit = units_[at];
    at ^= OffsetOf(unit);
    if (!HasLeaf(unit)) continue;
    const std::size_t start = at < units_.size() ? ValueOf(units_[at]) : replacements_.size();
    // A hostile table may point into the middle of a character.
    if (start >= replacements_.size() || SequenceLength(replacements_, start) == 0) return std::nullopt;
    const std::size_t end = std::min(replacements_.find('\0', start), replacements_.size());
    return std::string_view(replacements_).substr(start, end - start);
  }
  return std::nullopt;
}

Status PrecompiledNormalizer::Normalize(NormalText& normal) const {
  const std::string_view text = normal.text;
  std::string out;
  out.reserve(text.size() + 8);
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view cluster = text.substr(at, GraphemeLength(text.substr(at)));
    at += cluster.size();
    if (cluster.size() <= kLongestCluster) {
      if (const auto replacement = ReplacementOf(cluster)) {
        out += *replacement;
        continue;
      }
    }
    for (std::size_t inside = 0; inside < cluster.size();) {
      const std::size_t start = inside;
      NextCodePoint(cluster, inside);
      const std::string_view character = cluster.substr(start, inside - start);
      out += ReplacementOf(character).value_or(character);
    }
  }
  normal.text = std::move(out);
  return OkStatus();
}

void PrecompiledNormalizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("Precompiled");
  fingerprint.Number(units_.size());
  for (std::uint32_t unit : units_) fingerprint.Number(unit);
  fingerprint.Text(replacements_);
}

}  // namespace fedpeft::text
