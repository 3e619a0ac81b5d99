// A vector's noise is made in parts, each from a key of its own: by as many threads as there are, whatever their
// number.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "privacy/crypto/secret.h"
#include "privacy/noise/discrete_gaussian.h"

namespace fedpeft::privacy {

/// Values of a part; the last one has what is left.
inline constexpr std::size_t kNoisePart = 16 * 1024;

inline std::size_t NoiseParts(std::size_t values) {
  return (values + kNoisePart - 1) / kNoisePart;
}

/// Draws one part, under a key that nothing else was drawn under.
void FillNoise(const DiscreteGaussian& noise, const SecretKey& key, std::span<double> out);

/// Calls `make` once with each of 0 … parts − 1, on as many threads as there are cores, and returns when all are made.
void ForEachPart(std::size_t parts, const std::function<void(std::size_t part)>& make);

}  // namespace fedpeft::privacy
