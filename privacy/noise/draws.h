// Many draws of noise, by several threads.
#pragma once

#include <cstddef>
#include <functional>

#include "privacy/noise/random_bits.h"

namespace fedpeft::privacy {

/// Calls draw(bits, begin, end) for ranges that together are [0, size), each with bits under a key of its own: on up to
/// `threads` (≥ 1) threads at once, fewer where there is little to draw.
void DrawInParallel(std::size_t size, std::size_t threads, RandomSource& random,
                    const std::function<void(RandomBits& bits, std::size_t begin, std::size_t end)>& draw);

}  // namespace fedpeft::privacy
