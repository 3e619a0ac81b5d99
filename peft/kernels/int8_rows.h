// Row loops around products of bytes: to bytes and back. Compiled for several instruction sets, all of which give the
// same bits. Torch-free.
#pragma once

#include <cstdint>
#include <span>

namespace fedpeft {

/// One instruction set's loops over a row of n ≥ 0 numbers.
struct Int8Rows {
  const char* name;
  /// q[i] = round(x[i]·by[i] · 127/largest), to even where halfway, `largest` being that of all |x[i]·by[i]|; `by` may
  /// be null: all are 1. Returns largest / 127, what a byte is worth; rows too small to matter (below 1e-30) are
  /// zeros worth nothing. A row that is not finite gives bytes that mean nothing, worth infinity or NaN.
  float (*quantise)(const float* x, const float* by, std::int64_t n, std::int8_t* q);
  /// y[i] = sums[i] · (worth · scales[i]) + bias[i]; null `scales` are 1, null `bias` is 0.
  void (*widen)(const std::int32_t* sums, float worth, const float* scales, const float* bias, std::int64_t n,
                float* y);
};

/// Those that are used here (processor.h), the widest first; never empty.
std::span<const Int8Rows> Int8RowsOfProcessor();

}  // namespace fedpeft
