#include "peft/io/quote.h"

#include "peft/core/bytes.h"

namespace fedpeft {

std::string Quoted(std::string_view name) {
  constexpr std::size_t kLongest = 200;
  std::string out = "\"";
  for (const char c : name.substr(0, kLongest)) {
    if (c == '"' || c == '\\') {
      out.append({'\\', c});
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out.append("\\x").append(Hex(AsBytes(std::string_view(&c, 1))));
    } else {
      out.push_back(c);
    }
  }
  return out.append(name.size() > kLongest ? "…\"" : "\"");
}

}  // namespace fedpeft
