// Half (IEEE binary16) and bfloat16 as bits, to and from float. Used where values are stored or sent narrow:
// checkpoints, adapters, the wire. Arithmetic is always done in float. The one rounding is to nearest, ties to even, so
// that two machines that narrow the same float write the same bits.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "peft/core/bytes.h"

namespace fedpeft {

/// Exact: every half, subnormals included, is a float. NaNs keep sign and payload.
/// Source: F. Giesen, "half_to_float_fast5" (public domain).
inline float HalfToFloat(std::uint16_t half) {
  constexpr std::uint32_t kExponentMask = 0x7c00u << 13;
  constexpr float kSmallestNormal = std::bit_cast<float>(113u << 23);  // 2^-14
  std::uint32_t bits = (half & 0x7fffu) << 13;
  const std::uint32_t exponent = bits & kExponentMask;
  bits += (127u - 15u) << 23;
  if (exponent == kExponentMask) {
    bits += (128u - 16u) << 23;  // Inf and NaN keep the largest exponent
  } else if (exponent == 0) {
    bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits + (1u << 23)) - kSmallestNormal);
  }
  return std::bit_cast<float>(bits | (half & 0x8000u) << 16);
}

/// To nearest, ties to even. From 65520 on: infinity. NaN becomes the quiet NaN of the same sign.
/// Source: F. Giesen, "float_to_half_fast3_rtne" (public domain).
inline std::uint16_t FloatToHalf(float value) {
  constexpr std::uint32_t kInfinity = 255u << 23;
  constexpr std::uint32_t kOverflow = (127u + 16u) << 23;  // 2^16
  constexpr std::uint32_t kSmallestNormal = 113u << 23;    // 2^-14
  // Adding 0.5 to a subnormal lines its ten kept bits up with the end of the mantissa, and the addition rounds them.
  constexpr std::uint32_t kAlign = 126u << 23;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits & 0x80000000u;
  bits ^= sign;
  std::uint32_t half = 0;
  if (bits >= kOverflow) {
    half = bits > kInfinity ? 0x7e00u : 0x7c00u;
  } else if (bits < kSmallestNormal) {
    half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(bits) + std::bit_cast<float>(kAlign)) - kAlign;
  } else {
    const std::uint32_t odd = (bits >> 13) & 1u;
    half = (bits - ((127u - 15u) << 23) + 0xfffu + odd) >> 13;
  }
  return static_cast<std::uint16_t>(half | sign >> 16);
}

/// Exact: a bfloat16 is the upper half of a float.
inline float Bfloat16ToFloat(std::uint16_t bfloat) {
  return std::bit_cast<float>(std::uint32_t{bfloat} << 16);
}

/// To nearest, ties to even. NaN becomes the quiet NaN of the same sign.
inline std::uint16_t FloatToBfloat16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16 & 0x8000u) | 0x7fc0u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/// Whole buffers; the 16-bit side is little-endian bytes at any alignment, as files and messages hold it.
/// Pre: the byte span holds exactly two bytes a float.
void HalvesToFloats(ByteSpan halves, std::span<float> out);
void FloatsToHalves(std::span<const float> values, MutableByteSpan out);
void Bfloat16sToFloats(ByteSpan bfloats, std::span<float> out);
void FloatsToBfloat16s(std::span<const float> values, MutableByteSpan out);

}  // namespace fedpeft
