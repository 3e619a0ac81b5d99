// Texts that a classifier can learn.
#pragma once

#include <vector>

#include "client/example.h"
#include "peft/core/random.h"

namespace fedpeft::client {

/// 40 texts of 3 to 12 tokens, whose label their second token tells.
inline std::vector<Example> Texts() {
  std::vector<Example> examples;
  RandomStream stream(5, "texts");
  for (int i = 0; i < 40; ++i) {
    Example example{{2, 10 + i % 3}, {}, i % 3};
    for (std::uint64_t t = 1 + stream.NextBelow(10); t > 0; --t) {
      example.ids.push_back(static_cast<std::int32_t>(20 + stream.NextBelow(30)));
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace fedpeft::client
