#include "configs/template.h"

#include <utility>

namespace fedpeft {

Result<TextTemplate> TextTemplate::Parse(std::string_view text) {
  TextTemplate parsed;
  std::string plain;
  const auto end_plain = [&] {
    if (!plain.empty()) parsed.pieces_.push_back({std::exchange(plain, {}), false});
  };
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      plain += c;
    } else if (at + 1 < text.size() && text[at + 1] == c) {
      plain += c;
      ++at;
    } else {
      const std::size_t close = c == '{' ? text.find_first_of("{}", at + 1) : text.npos;
      if (close == text.npos || text[close] == '{' || close == at + 1) {
        return InvalidArgument("got an odd brace at byte " + std::to_string(at + 1) +
                               ", want {column}, or {{ and }} for braces themselves");
      }
      end_plain();
      parsed.pieces_.push_back({std::string(text.substr(at + 1, close - at - 1)), true});
      at = close;
    }
  }
  end_plain();
  return parsed;
}

}  // namespace fedpeft
