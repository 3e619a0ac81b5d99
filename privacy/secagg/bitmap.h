// Sets of clients as bitmaps: place 8i + j is bit j of byte i.
#pragma once

#include <bit>
#include <cstdint>

#include "peft/core/bytes.h"

namespace fedpeft::privacy {

inline Bytes EmptyBitmap(std::uint32_t clients) {
  return Bytes((clients + 7) / 8);
}
/// Of that many clients, with no bit behind the last.
inline bool IsBitmap(ByteSpan bitmap, std::uint32_t clients) {
  return bitmap.size() == (clients + 7) / 8 && (clients % 8 == 0 || bitmap.back() >> clients % 8 == 0);
}
/// Pre, here and below: `place` is one of the bitmap's.
inline bool HasBit(ByteSpan bitmap, std::uint32_t place) {
  return (bitmap[place / 8] >> place % 8 & 1) != 0;
}
inline void SetBit(MutableByteSpan bitmap, std::uint32_t place) {
  bitmap[place / 8] = static_cast<std::uint8_t>(bitmap[place / 8] | 1u << place % 8);
}
/// Pre: of the same clients.
inline bool IsSubset(ByteSpan part, ByteSpan whole) {
  for (std::size_t i = 0; i < part.size(); ++i) {
    if ((part[i] & ~whole[i]) != 0) return false;
  }
  return true;
}
inline std::uint32_t CountBits(ByteSpan bitmap) {
  std::uint32_t count = 0;
  for (const std::uint8_t byte : bitmap) count += static_cast<std::uint32_t>(std::popcount(byte));
  return count;
}

}  // namespace fedpeft::privacy
