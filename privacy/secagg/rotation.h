// A random rotation that spreads a vector's weight evenly over its values, so that a few large ones do not decide the
// grid of all. The same for all clients of a round; undone on the sum.
#pragma once

#include <cstddef>
#include <span>

#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// Values in a block; vectors are padded to whole ones.
inline constexpr std::size_t kRotationBlock = std::size_t{1} << 16;

constexpr std::size_t RotatedSize(std::size_t size) {
  return (size + kRotationBlock - 1) / kRotationBlock * kRotationBlock;
}

/// x ← H D x / √n by blocks: D is diagonal, its signs the bits of the AES-256-CTR keystream under `seed` (1: minus), H
/// is Walsh and Hadamard's matrix. Pre: the size is RotatedSize's. Source: Ailon and Chazelle 2009; Suresh et al. 2017.
void Rotate(const SecretKey& seed, std::span<float> values);
/// The inverse, of sums as of single vectors.
void RotateBack(const SecretKey& seed, std::span<float> values);

}  // namespace fedpeft::privacy
