#include "peft/text/byte_token.h"

#include <algorithm>
#include <string>

namespace fedpeft::text {

std::vector<std::int32_t> FindByteTokens(const Vocabulary& vocabulary) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::vector<std::int32_t> out(256);
  for (std::size_t byte = 0; byte < out.size(); ++byte) {
    const std::string token = {'<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>'};
    out[byte] = vocabulary.Find(token).value_or(-1);
  }
  return out;
}

bool AppendByteTokens(const std::vector<std::int32_t>& byte_tokens, std::string_view text,
                      std::vector<std::int32_t>& ids) {
  const auto token_of = [&](char c) { return byte_tokens[static_cast<std::uint8_t>(c)]; };
  if (std::any_of(text.begin(), text.end(), [&](char c) { return token_of(c) < 0; })) return false;
  for (char c : text) ids.push_back(token_of(c));
  return true;
}

}  // namespace fedpeft::text
