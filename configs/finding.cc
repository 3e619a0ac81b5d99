#include "configs/finding.h"

#include <array>
#include <cstdio>

namespace fedpeft::configs {

namespace {

constexpr std::size_t kMaxLines = 50;
constexpr std::size_t kMaxQuotedBytes = 60;

std::string PlaceText(std::string_view file, const Place& place) {
  if (place.set > 0) return std::string("--set ").append(std::to_string(place.set));
  std::string text(file);
  if (place.line > 0)
    text.append(":").append(std::to_string(place.line)).append(":").append(std::to_string(place.column));
  return text;
}

}  // namespace

std::string JoinKey(std::string_view a, std::string_view b) {
  std::string path(a);
  if (!path.empty()) path += '.';
  return path.append(b);
}

Place FindPlace(const Places& places, std::string_view path) {
  while (!path.empty()) {
    if (const auto found = places.find(path); found != places.end()) return found->second;
    const std::size_t dot = path.rfind('.');
    path = dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
  }
  return {1, 1, 0};
}

Status ToStatus(std::string_view file, const std::vector<Finding>& findings) {
  FEDPEFT_CHECK(!findings.empty());
  std::string text;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    if (i > 0) text += '\n';
    if (i == kMaxLines) {
      text += "and " + std::to_string(findings.size() - i) + " more";
      break;
    }
    const std::string place = PlaceText(file, findings[i].place);
    text += place;
    if (!place.empty()) text += ": ";
    if (!findings[i].path.empty()) text += findings[i].path + ": ";
    text += findings[i].message;
  }
  return InvalidArgument(std::move(text));
}

std::string Quoted(std::string_view text) {
  const bool cut = text.size() > kMaxQuotedBytes;
  if (cut) {
    text = text.substr(0, kMaxQuotedBytes);
    // Not in the middle of a UTF-8 character.
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.remove_suffix(1);
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.remove_suffix(1);
  }
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      std::array<char, 5> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
      quoted += escape.data();
    } else {
      quoted += c;
    }
  }
  return quoted.append(cut ? "…\"" : "\"");
}

}  // namespace fedpeft::configs
