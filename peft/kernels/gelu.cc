#include "peft/kernels/gelu.h"

#include <algorithm>
#include <vector>

#include "peft/kernels/floats.h"
#include "peft/kernels/processor.h"

namespace fedpeft {

namespace {

/// Of the normal distribution at x.
template <typename V>
struct Normal {
  V below;    // Φ(x)
  V density;  // φ(x)
};

/// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
template <typename V>
FEDPEFT_INLINE Normal<V> NormalAt(V x) {
  constexpr float kRootHalf = 0.70710678f, kRootTwoPi = 0.39894228f;
  const V bell = Exponential(x * x * -0.5f);
  const V t = 1.0f / (Magnitude(x) * (0.3275911f * kRootHalf) + 1.0f);
  V p = t * 1.061405429f - 1.453152027f;
  p = p * t + 1.421413741f;
  p = p * t - 0.284496736f;
  p = p * t + 0.254829592f;
  const V beyond = p * t * bell * 0.5f;  // above |x|
  return {Choose(x < 0.0f, beyond, 1.0f - beyond), bell * kRootTwoPi};
}

/// y[i] = f(x[i], d[i]), the last numbers by way of a copy.
template <int kLanes, typename F>
FEDPEFT_INLINE void ForEach(const float* x, const float* d, std::int64_t n, float* y, F f) {
  using V = Floats<kLanes>;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) Store<V>(f(Load<V>(x + i), Load<V>(d + i)), y + i);
  if (i == n) return;
  float last_x[kLanes] = {}, last_d[kLanes] = {};
  std::copy(x + i, x + n, last_x);
  std::copy(d + i, d + n, last_d);
  Store<V>(f(Load<V>(last_x), Load<V>(last_d)), last_x);
  std::copy_n(last_x, n - i, y + i);
}

template <int kLanes>
FEDPEFT_INLINE void Forward(const float* x, std::int64_t n, float* y) {
  using V = Floats<kLanes>;
  ForEach<kLanes>(x, x, n, y, [](V at, V) FEDPEFT_LAMBDA { return at * NormalAt(at).below; });
}

template <int kLanes>
FEDPEFT_INLINE void Backward(const float* x, const float* d_y, std::int64_t n, float* d_x) {
  using V = Floats<kLanes>;
  ForEach<kLanes>(x, d_y, n, d_x, [](V at, V gradient) FEDPEFT_LAMBDA {
    const Normal<V> normal = NormalAt(at);
    return gradient * (normal.below + at * normal.density);
  });
}

#define FEDPEFT_GELU(set, lanes, attributes)                                                    \
  attributes void Forward##set(const float* x, std::int64_t n, float* y) {                      \
    Forward<lanes>(x, n, y);                                                                    \
  }                                                                                             \
  attributes void Backward##set(const float* x, const float* d_y, std::int64_t n, float* d_x) { \
    Backward<lanes>(x, d_y, n, d_x);                                                            \
  }

FEDPEFT_GELU(Avx512, 16, FEDPEFT_AVX512)
FEDPEFT_GELU(Avx2, 8, FEDPEFT_AVX2)
FEDPEFT_GELU(Plain, 4, )

#undef FEDPEFT_GELU

}  // namespace

std::span<const GeluKernel> GeluKernelsOfProcessor() {
  static const std::vector<GeluKernel> kernels =
      UsableOf<GeluKernel>({"avx512", ForwardAvx512, BackwardAvx512}, {"avx2", ForwardAvx2, BackwardAvx2},
                           {"plain", ForwardPlain, BackwardPlain});
  return kernels;
}

}  // namespace fedpeft
