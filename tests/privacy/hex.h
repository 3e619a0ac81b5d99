// Hexadecimal test vectors as bytes.
#pragma once

#include <algorithm>
#include <charconv>
#include <string_view>

#include "peft/core/bytes.h"
#include "peft/core/check.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::testing {

/// Pre: pairs of hexadecimal digits.
inline Bytes FromHex(std::string_view text) {
  FEDPEFT_CHECK(text.size() % 2 == 0);
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* const end = text.data() + 2 * i + 2;
    FEDPEFT_CHECK(std::from_chars(end - 2, end, bytes[i], 16).ptr == end);
  }
  return bytes;
}

/// `first`, `first` + 1, …
inline Bytes Counting(std::uint8_t first, std::size_t count) {
  Bytes bytes(count);
  std::ranges::generate(bytes, [&first] { return first++; });
  return bytes;
}

/// Pre: `bytes` has 32.
inline privacy::SecretKey KeyOf(ByteSpan bytes) {
  FEDPEFT_CHECK(bytes.size() == 32);
  return privacy::SecretKey(bytes.first<32>());
}

}  // namespace fedpeft::testing
