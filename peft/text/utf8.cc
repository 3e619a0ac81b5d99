#include "peft/text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace fedpeft::text {

namespace {

std::uint8_t ByteAt(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

bool IsContinuation(std::uint8_t byte) {
  return (byte & 0xC0) == 0x80;
}

/// What may follow a lead byte: `length` bytes in all, the second within [low, high]. Length 0: not a lead byte.
struct Lead {
  std::size_t length;
  std::uint8_t low, high;
};

Lead LeadOf(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0x80, 0xBF};
  if (byte < 0xC2) return {0, 0x80, 0xBF};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte < 0xF0) {
    return {3, static_cast<std::uint8_t>(byte == 0xE0 ? 0xA0 : 0x80),
            static_cast<std::uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
  }
  if (byte < 0xF5) {
    return {4, static_cast<std::uint8_t>(byte == 0xF0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
  return {0, 0x80, 0xBF};
}

/// Bytes from `at` that could begin or be one sequence, at least 1.
std::size_t MaximalPart(std::string_view text, std::size_t at) {
  const Lead lead = LeadOf(ByteAt(text, at));
  std::size_t size = 1;
  while (size < lead.length && at + size < text.size()) {
    const std::uint8_t byte = ByteAt(text, at + size);
    const bool fits = size == 1 ? byte >= lead.low && byte <= lead.high : IsContinuation(byte);
    if (!fits) break;
    ++size;
  }
  return size;
}

}  // namespace

std::size_t SequenceLength(std::string_view text, std::size_t at) {
  const std::size_t want = LeadOf(ByteAt(text, at)).length;
  return want != 0 && MaximalPart(text, at) == want ? want : 0;
}

bool IsValidUtf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    if (ByteAt(text, at) < 0x80) {
      ++at;
      continue;
    }
    const std::size_t length = SequenceLength(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t part = MaximalPart(text, at);
    if (part == LeadOf(ByteAt(text, at)).length) {
      out.append(text.substr(at, part));
    } else {
      AppendUtf8(kReplacement, out);
    }
    at += part;
  }
  return out;
}

char32_t NextCodePoint(std::string_view text, std::size_t& at) {
  const std::uint8_t lead = ByteAt(text, at++);
  if (lead < 0x80) return lead;
  const int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  char32_t value = static_cast<char32_t>(lead & (0x3F >> more));
  for (int i = 0; i < more; ++i) value = (value << 6) | (ByteAt(text, at++) & 0x3F);
  return value;
}

char32_t LastCodePoint(std::string_view text, std::size_t& end) {
  do {
    --end;
  } while (IsContinuation(ByteAt(text, end)));
  std::size_t at = end;
  return NextCodePoint(text, at);
}

void AppendUtf8(char32_t c, std::string& out) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.append({static_cast<char>(0xC0 | (c >> 6)), tail(0)});
  } else if (c < 0x10000) {
    out.append({static_cast<char>(0xE0 | (c >> 12)), tail(6), tail(0)});
  } else {
    out.append({static_cast<char>(0xF0 | (c >> 18)), tail(12), tail(6), tail(0)});
  }
}

std::u32string ToCodePoints(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) out.push_back(NextCodePoint(text, at));
  return out;
}

std::string ToUtf8(std::u32string_view code_points) {
  std::string out;
  out.reserve(code_points.size() + code_points.size() / 2);
  for (char32_t c : code_points) AppendUtf8(c, out);
  return out;
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
}

std::size_t CountCodePoints(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(static_cast<std::uint8_t>(c)); }));
}

}  // namespace fedpeft::text
