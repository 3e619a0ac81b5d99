// Random bytes that a test can repeat.
#pragma once

#include "peft/core/random.h"
#include "privacy/crypto/random_source.h"

namespace fedpeft::testing {

class SeededRandom final : public privacy::RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : stream_(seed, "seeded") {}
  void Fill(MutableByteSpan out) override {
    for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(stream_.NextU32());
  }

 private:
  RandomStream stream_;
};

}  // namespace fedpeft::testing
