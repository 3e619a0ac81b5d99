// Numbers modulo the Mersenne prime 2^61 − 1, for Shamir's shares. No branch depends on a value.
#pragma once

#include <cstdint>

namespace fedpeft::privacy::field {

inline constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;

/// Pre, here and below: arguments are below kPrime.
constexpr std::uint64_t Add(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t sum = a + b;
  const std::uint64_t less = sum - kPrime;
  return less + (kPrime & (0 - (less >> 63)));
}
constexpr std::uint64_t Sub(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t less = a - b;
  return less + (kPrime & (0 - (less >> 63)));
}
constexpr std::uint64_t Mul(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;  // 2^61 is 1: the upper bits count as they are
  return Add(static_cast<std::uint64_t>(product & kPrime), static_cast<std::uint64_t>(product >> 61));
}
/// 0 of 0.
constexpr std::uint64_t Inverse(std::uint64_t a) {
  std::uint64_t power = 1;  // a^(p − 2): all bits but the second lowest
  for (int bit = 60; bit >= 0; --bit) {
    power = Mul(power, power);
    if (bit != 1) power = Mul(power, a);
  }
  return power;
}

}  // namespace fedpeft::privacy::field
