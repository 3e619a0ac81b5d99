// Several numbers at a time, for kernels: as many as the registers hold of the function that all is inlined into.
#pragma once

#include <cstdint>
#include <cstring>

#define FEDPEFT_INLINE [[gnu::always_inline]] inline
#define FEDPEFT_LAMBDA __attribute__((always_inline))

namespace fedpeft {

template <int kLanes>
struct Vector {
  using Type [[gnu::vector_size(sizeof(float) * kLanes)]] = float;
};

/// L numbers.
template <int kLanes>
using Floats = typename Vector<kLanes>::Type;

/// As many masks, of all or no bits.
template <typename V>
using Masks = decltype(V{} < V{});

template <typename V>
FEDPEFT_INLINE V Load(const float* from) {
  V values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}

template <typename V>
FEDPEFT_INLINE void Store(V values, float* to) {
  std::memcpy(to, &values, sizeof(values));
}

template <typename V>
FEDPEFT_INLINE V Choose(Masks<V> mask, V yes, V no) {
  using M = Masks<V>;
  return reinterpret_cast<V>((mask & reinterpret_cast<M>(yes)) | (~mask & reinterpret_cast<M>(no)));
}

template <typename V>
FEDPEFT_INLINE V Magnitude(V x) {
  return reinterpret_cast<V>(reinterpret_cast<Masks<V>>(x) & 0x7fffffff);
}

/// e^x for x ≤ 0, within 2 units in the last place; 0 below −87, where floats end. Source: the reduction of Cody and
/// Waite, and the Taylor polynomial of the rest, |r| ≤ ln 2 / 2.
template <typename V>
FEDPEFT_INLINE V Exponential(V x) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f, kShift = 0x1.8p23f;
  constexpr float kLeast = -87.0f;
  constexpr std::int32_t kOne = 0x3f800000;
  const Masks<V> too_small = x < kLeast;
  const V y = Choose(too_small, V{} + kLeast, x);
  const V shifted = y * kLog2E + kShift;
  const V n = shifted - kShift;
  const V r = (y - n * kLn2High) - n * kLn2Low;
  V p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // n is in the low bits of `shifted`; its place in a float is 23 bits higher.
  const V power = reinterpret_cast<V>((reinterpret_cast<Masks<V>>(shifted) << 23) + kOne);
  return Choose(too_small, V{}, p * power);
}

}  // namespace fedpeft
