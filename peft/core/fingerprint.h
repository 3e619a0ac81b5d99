// SHA-256 over a stream of numbers and length-prefixed texts, so that two different sequences of calls of one pattern
// never give the same bytes.
#pragma once

#include <cstdint>
#include <string_view>

#include "peft/core/hash.h"

namespace fedpeft {

class Fingerprint {
 public:
  void Text(std::string_view value) {
    Number(value.size());
    hash_.Update(AsBytes(value));
  }
  void Number(std::uint64_t value) {
    std::uint8_t bytes[sizeof value];
    StoreLe(value, bytes);
    hash_.Update(ByteSpan(bytes));
  }
  Digest Finish() { return hash_.Finish(); }

 private:
  Sha256 hash_;
};

}  // namespace fedpeft
