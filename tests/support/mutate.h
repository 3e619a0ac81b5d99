// Damage to the bytes that a parser gets, for the tests that it never crashes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "peft/core/bytes.h"
#include "peft/core/random.h"

namespace fedpeft::testing {

/// One to four edits: a byte or a bit changed, a few bytes removed, or a few copied from elsewhere. Pre: `bytes` is not
/// empty.
inline void Mutate(RandomStream& random, Bytes& bytes) {
  for (std::uint64_t edits = 1 + random.NextBelow(4); edits > 0 && !bytes.empty(); --edits) {
    const std::size_t at = random.NextBelow(bytes.size());
    const std::size_t count = std::min<std::size_t>(1 + random.NextBelow(8), bytes.size() - at);
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random.NextBelow(4)) {
      case 0:
        *place = static_cast<std::uint8_t>(random.NextU32());
        break;
      case 1:
        *place = static_cast<std::uint8_t>(*place ^ (1u << random.NextBelow(8)));
        break;
      case 2:
        bytes.erase(place, place + static_cast<std::ptrdiff_t>(count));
        break;
      default: {
        const Bytes copied(place, place + static_cast<std::ptrdiff_t>(count));
        const auto to = bytes.begin() + static_cast<std::ptrdiff_t>(random.NextBelow(bytes.size()));
        bytes.insert(to, copied.begin(), copied.end());
      }
    }
  }
}

}  // namespace fedpeft::testing
