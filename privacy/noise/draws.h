// Noise of a long vector is made in parts, each under a key of its own: by as many threads as there are, whatever their
// number.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "privacy/crypto/secret.h"
#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/random_bits.h"

namespace fedpeft::privacy {

/// Values of a part; the last one has what is left.
inline constexpr std::size_t kNoisePart = 16 * 1024;

inline std::size_t NoiseParts(std::size_t values) {
  return (values + kNoisePart - 1) / kNoisePart;
}

/// Draws one part, under a key that nothing else was drawn under.
void FillNoise(const DiscreteGaussian& noise, const SecretKey& key, std::span<double> out);

/// Calls draw(bits, begin, end) for parts that together are [0, size), each with bits under a fresh key, on
/// up to `threads` (≥ 1) at once.
void DrawInParallel(std::size_t size, std::size_t threads, RandomSource& random,
                    const std::function<void(RandomBits& bits, std::size_t begin, std::size_t end)>& draw);

}  // namespace fedpeft::privacy
