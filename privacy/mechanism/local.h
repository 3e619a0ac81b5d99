// Local differential privacy: what leaves a client's box is hidden by noise of its own, whoever receives it.
#pragma once

#include <cstdint>
#include <span>

#include "privacy/crypto/random_source.h"
#include "privacy/mechanism/clip.h"

namespace fedpeft::privacy {

/// Clips the values to an L2 norm of `clip` (> 0), by groups, what is not finite being zero, and adds discrete Gaussian
/// noise of standard deviation `noise_multiplier` · clip to each, on a grid that is far finer than that. Another
/// client's values in place of these are at most 2 · clip away. Gives how many values were not finite.
std::uint64_t ClipAndHide(std::span<float> values, double clip, const ClipGroups& groups, double noise_multiplier,
                          RandomSource& random);

}  // namespace fedpeft::privacy
