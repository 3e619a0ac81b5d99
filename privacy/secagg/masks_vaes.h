// AES-256 in counter mode with VAES and AVX-512, fused with the addition to ring elements. masks.cc's other half.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "privacy/crypto/secret.h"

namespace fedpeft::privacy::vaes {

/// Round keys of AES-256.
struct Schedule {
  alignas(64) std::array<std::uint8_t, 15 * 16> bytes{};
};

/// Whether this processor has what the rest needs.
bool Available();

/// Pre: Available(), here and below.
void Expand(const SecretKey& key, Schedule& schedule);

/// Adds the keystream from `block` on to the elements, or subtracts it.
void AddKeystream(const Schedule& schedule, std::uint64_t block, bool subtract, std::span<std::uint32_t> elements);

}  // namespace fedpeft::privacy::vaes
