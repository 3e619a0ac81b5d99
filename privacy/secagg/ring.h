// The ring Z_{2^b} that masked vectors live in. In memory an element is a uint32 whose upper bits do not count, so that
// sums need no reduction; on the wire it has b bits.
#pragma once

#include <cstdint>
#include <span>

#include "peft/core/bytes.h"
#include "peft/core/status.h"

namespace fedpeft::privacy {

inline constexpr int kMinRingBits = 8;
inline constexpr int kMaxRingBits = 32;

/// 2^bits − 1. Pre: 1 ≤ bits ≤ 32, here and below.
constexpr std::uint32_t RingMask(int bits) {
  return static_cast<std::uint32_t>((std::uint64_t{1} << bits) - 1);
}

/// The element's number in [−2^(bits−1), 2^(bits−1)).
constexpr std::int32_t Centered(std::uint32_t element, int bits) {
  const int unused = 32 - bits;
  return static_cast<std::int32_t>(element << unused) >> unused;
}

/// ⌈count · bits / 8⌉. Pre: count < 2^58.
constexpr std::uint64_t PackedBytes(std::uint64_t count, int bits) {
  return (count * static_cast<std::uint64_t>(bits) + 7) / 8;
}

/// Elements one after another, lowest bit first; the last byte's unused bits are zero.
/// Pre: `packed` has PackedBytes(elements.size(), bits).
void PackRing(std::span<const std::uint32_t> elements, int bits, MutableByteSpan packed);

/// What Unpack does with elements: the second adds to those that are there, which is how uploads are summed.
/// Errors: kInvalidArgument when `packed` has not PackedBytes(elements.size(), bits), or unused bits are set.
Status UnpackRing(ByteSpan packed, int bits, std::span<std::uint32_t> elements);
Status AddPackedRing(ByteSpan packed, int bits, std::span<std::uint32_t> elements);

}  // namespace fedpeft::privacy
