#include "peft/text/byte_level.h"

#include <array>
#include <cstdint>

#include "peft/text/json_object.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char32_t kFirstMoved = 0x100;
constexpr int kNoByte = -1;

/// The alphabet in both directions.
struct ByteAlphabet {
  std::array<char32_t, 256> character_of = {};
  std::array<std::int16_t, kFirstMoved + 68> byte_of = {};  // kNoByte: not in the alphabet

  ByteAlphabet() {
    byte_of.fill(kNoByte);
    char32_t moved = kFirstMoved;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      character_of[byte] = printable ? static_cast<char32_t>(byte) : moved++;
      byte_of[character_of[byte]] = static_cast<std::int16_t>(byte);
    }
  }
};

const ByteAlphabet& Alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

void AppendBytesAsCharacters(std::string_view word, std::string& out) {
  const ByteAlphabet& alphabet = Alphabet();
  for (char c : word) AppendUtf8(alphabet.character_of[static_cast<std::uint8_t>(c)], out);
}

/// False, and nothing done, when a character is not in the alphabet.
bool AppendCharactersAsBytes(std::string_view token, std::string& out) {
  const std::size_t before = out.size();
  for (std::size_t at = 0; at < token.size();) {
    const char32_t c = NextCodePoint(token, at);
    const int byte = c < Alphabet().byte_of.size() ? Alphabet().byte_of[c] : kNoByte;
    if (byte == kNoByte) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(byte));
  }
  return true;
}

void AddPrefixSpaces(Words& words) {
  Words out;
  for (const Words::Range& range : words.ranges) {
    const std::string_view word = words.WordAt(range);
    const std::size_t start = out.text.size();
    if (!word.starts_with(' ')) out.text.push_back(' ');
    out.text += word;
    out.ranges.push_back({start, out.text.size()});
  }
  words.text = std::move(out.text);
  words.ranges = std::move(out.ranges);
}

}  // namespace

Result<ByteLevelSettings> ReadByteLevelSettings(JsonObject& object) {
  ByteLevelSettings out;
  ASSIGN_OR_RETURN(out.add_prefix_space, object.Bool("add_prefix_space"));
  ASSIGN_OR_RETURN([[maybe_unused]] const bool trim_offsets, object.Bool("trim_offsets"));
  if (object.Optional("use_regex") != nullptr) {
    ASSIGN_OR_RETURN(out.use_regex, object.Bool("use_regex"));
  }
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return out;
}

Result<std::unique_ptr<PreTokenizer>> ByteLevelPreTokenizer::FromJson(JsonObject& object) {
  ASSIGN_OR_RETURN(const ByteLevelSettings settings, ReadByteLevelSettings(object));
  std::optional<Regex> regex;
  if (settings.use_regex) {
    ASSIGN_OR_RETURN(regex, Regex::Compile(kGpt2Pattern));
  }
  return std::unique_ptr<PreTokenizer>(new ByteLevelPreTokenizer(settings.add_prefix_space, std::move(regex)));
}

Status ByteLevelPreTokenizer::Split(Words& words) const {
  if (add_prefix_space_) AddPrefixSpaces(words);
  if (regex_) {
    RETURN_IF_ERROR(
        CutWords(words, [this](std::string_view word, std::vector<Span>& spans) { return regex_->Cut(word, spans); }));
  }
  std::string out;
  out.reserve(words.text.size() + words.text.size() / 2);
  for (Words::Range& range : words.ranges) {
    const std::size_t start = out.size();
    AppendBytesAsCharacters(words.WordAt(range), out);
    range = {start, out.size()};
  }
  words.text = std::move(out);
  return OkStatus();
}

void ByteLevelPreTokenizer::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("ByteLevel");
  fingerprint.Number(add_prefix_space_);
  fingerprint.Number(regex_.has_value());
}

void ByteLevelDecoder::Decode(std::vector<std::string>& tokens) const {
  std::string bytes;
  for (const std::string& token : tokens) {
    if (!AppendCharactersAsBytes(token, bytes)) bytes += token;
  }
  tokens.assign(1, ReplaceInvalidUtf8(bytes));
}

}  // namespace fedpeft::text
