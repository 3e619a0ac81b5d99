// RandomBits: uniform integers for noise, from a keystream under a secret key of their own.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "privacy/crypto/keystream.h"
#include "privacy/crypto/random_source.h"

namespace fedpeft::privacy {

// Not in ISO C++; the compilers that build this have it.
__extension__ using Uint128 = unsigned __int128;

/// Threads: none of its own. What was drawn is wiped.
class RandomBits {
 public:
  explicit RandomBits(RandomSource& random) : stream_(RandomSecret<32>(random)) {}
  explicit RandomBits(const SecretKey& key) : stream_(key) {}
  ~RandomBits() { Wipe(buffer_); }
  RandomBits(const RandomBits&) = delete;
  RandomBits& operator=(const RandomBits&) = delete;

  std::uint64_t Next();
  /// Uniform in [0, bound), exactly. Pre: bound ≥ 1.
  Uint128 Below(Uint128 bound);
  /// Uniform in [0, 1), 53 bits.
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  Keystream stream_;
  std::array<std::uint8_t, 4096> buffer_{};
  std::size_t used_ = sizeof(buffer_);
};

}  // namespace fedpeft::privacy
