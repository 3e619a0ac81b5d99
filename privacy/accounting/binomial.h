// How many of those who are drawn, each on its own, come.
#pragma once

#include <cstdint>

namespace fedpeft::privacy {

/// The chance of `least` or more out of that many, each with that probability, in (0, 1].
double BinomialTail(std::uint64_t trials, double probability, std::uint64_t least);
/// The chance of fewer than `least`.
double BinomialBelow(std::uint64_t trials, double probability, std::uint64_t least);

}  // namespace fedpeft::privacy
