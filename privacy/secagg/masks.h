// Masks: keystreams as ring elements, added to a vector or taken off it. The hot loop of secure aggregation: a client
// adds one mask a neighbour, and the coordinator takes off one a survivor and more for each client that was lost.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// One mask: element i is the little-endian 32-bit word i of the AES-256-CTR keystream of the key.
struct Mask {
  SecretKey key;
  bool subtract = false;
};

/// Elements that begin here and at multiples of this begin a keystream block and, packed, a byte: what vectors are cut
/// at.
inline constexpr std::size_t kMaskAlignment = 8;

enum class MaskKernel {
  /// OpenSSL's, and an addition; anywhere.
  kOpenssl,
  /// Four blocks an instruction, added in registers: processors with VAES and AVX-512.
  kVaes,
};

/// The fastest that this processor has, and its name in logs.
MaskKernel FastestMaskKernel();
std::string_view NameOf(MaskKernel kernel);

/// Adds elements `first`, `first` + 1, … of all masks to `elements`. Every mask passes over a piece of them while it is
/// in the cache. Pre: `first` is a multiple of kMaskAlignment; the processor has `kernel`.
/// Threads: any number at once, on pieces of their own. Cost: 24 KiB of memory.
void AddMasks(std::span<const Mask> masks, std::uint64_t first, std::span<std::uint32_t> elements,
              MaskKernel kernel = FastestMaskKernel());

}  // namespace fedpeft::privacy
