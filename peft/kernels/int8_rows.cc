#include "peft/kernels/int8_rows.h"

#include <bit>
#include <vector>

#include "peft/kernels/processor.h"

namespace fedpeft {

namespace {

/// Bits of |x|, which are ordered as the floats are, with what is not finite above all: integers have a maximum in
/// every instruction set.
[[gnu::always_inline]] inline std::uint32_t Magnitude(float x) {
  return std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
}

/// Adding 1.5 · 2^23 rounds to an integer, which is then in the sum's low bits. Pre: |x| < 2^22.
[[gnu::always_inline]] inline std::int8_t Round(float x) {
  constexpr float kShift = 0x1.8p23f;
  return static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(x + kShift) - std::bit_cast<std::uint32_t>(kShift));
}

template <typename Value>
[[gnu::always_inline]] inline float QuantiseValues(Value value, std::int64_t n, std::int8_t* q) {
  constexpr float kLeast = 1e-30f;
  constexpr float kSteps = 127;
  std::uint32_t most = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = Magnitude(value(i));
    most = bits > most ? bits : most;
  }
  const auto largest = std::bit_cast<float>(most);
  const bool nothing = largest < kLeast;
  const float inverse = nothing ? 0 : kSteps / largest;
  for (std::int64_t i = 0; i < n; ++i) q[i] = Round(value(i) * inverse);
  return nothing ? 0 : largest / kSteps;
}

[[gnu::always_inline]] inline float Quantise(const float* __restrict x, const float* __restrict by, std::int64_t n,
                                             std::int8_t* __restrict q) {
  if (by == nullptr) return QuantiseValues([=](std::int64_t i) { return x[i]; }, n, q);
  return QuantiseValues([=](std::int64_t i) { return x[i] * by[i]; }, n, q);
}

template <bool kScales, bool kBias>
[[gnu::always_inline]] inline void WidenWith(const std::int32_t* __restrict sums, float worth,
                                             const float* __restrict scales, const float* __restrict bias,
                                             std::int64_t n, float* __restrict y) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float product = static_cast<float>(sums[i]) * (kScales ? worth * scales[i] : worth);
    y[i] = kBias ? product + bias[i] : product;
  }
}

[[gnu::always_inline]] inline void Widen(const std::int32_t* sums, float worth, const float* scales, const float* bias,
                                         std::int64_t n, float* y) {
  if (scales == nullptr) {
    if (bias == nullptr) return WidenWith<false, false>(sums, worth, scales, bias, n, y);
    return WidenWith<false, true>(sums, worth, scales, bias, n, y);
  }
  if (bias == nullptr) return WidenWith<true, false>(sums, worth, scales, bias, n, y);
  return WidenWith<true, true>(sums, worth, scales, bias, n, y);
}

#define FEDPEFT_INT8_ROWS(set, attributes)                                                                  \
  attributes float Quantise##set(const float* x, const float* by, std::int64_t n, std::int8_t* q) {         \
    return Quantise(x, by, n, q);                                                                           \
  }                                                                                                         \
  attributes void Widen##set(const std::int32_t* sums, float worth, const float* scales, const float* bias, \
                             std::int64_t n, float* y) {                                                    \
    Widen(sums, worth, scales, bias, n, y);                                                                 \
  }

FEDPEFT_INT8_ROWS(Avx512, FEDPEFT_AVX512)
FEDPEFT_INT8_ROWS(Avx2, FEDPEFT_AVX2)
FEDPEFT_INT8_ROWS(Plain, )

#undef FEDPEFT_INT8_ROWS

}  // namespace

std::span<const Int8Rows> Int8RowsOfProcessor() {
  static const std::vector<Int8Rows> sets = UsableOf<Int8Rows>(
      {"avx512", QuantiseAvx512, WidenAvx512}, {"avx2", QuantiseAvx2, WidenAvx2}, {"plain", QuantisePlain, WidenPlain});
  return sets;
}

}  // namespace fedpeft
