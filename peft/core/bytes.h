// Byte spans, little-endian loads and stores from unaligned memory, hexadecimal.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fedpeft {

static_assert(std::endian::native == std::endian::little, "fedpeft's formats are little-endian and read in place");

using ByteSpan = std::span<const std::uint8_t>;
using MutableByteSpan = std::span<std::uint8_t>;
using Bytes = std::vector<std::uint8_t>;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
template <typename T>
ByteSpan AsBytes(std::span<const T> values) {
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

/// Pre: `bytes` holds at least sizeof(T) from `offset`.
template <typename T>
T LoadLe(ByteSpan bytes, std::size_t offset = 0) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <typename T>
void StoreLe(T value, std::uint8_t* out) {
  std::memcpy(out, &value, sizeof(T));
}

/// Lower-case hexadecimal, two digits a byte.
std::string Hex(ByteSpan bytes);

/// False, and `out` untouched, when a·b or a+b does not fit.
inline bool CheckedMul(std::uint64_t a, std::uint64_t b, std::uint64_t& out) {
  return !__builtin_mul_overflow(a, b, &out);
}
inline bool CheckedAdd(std::uint64_t a, std::uint64_t b, std::uint64_t& out) {
  return !__builtin_add_overflow(a, b, &out);
}

}  // namespace fedpeft
