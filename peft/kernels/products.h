// Products of small matrices, for kernels: compiled into the functions of an instruction set.
#pragma once

#include <cstdint>

#include "peft/kernels/floats.h"

namespace fedpeft {

/// Rows in memory are padded to so many numbers with zeros, so that no product has a remainder.
inline constexpr std::int64_t kPad = 16;

constexpr std::int64_t Padded(std::int64_t n) {
  return (n + kPad - 1) / kPad * kPad;
}

/// a has strides of its own, so that it may be read transposed; rows of b and c are dense.
struct Factor {
  const float* data;
  std::int64_t row;
  std::int64_t step;
};

/// c[r][j] (+)= Σ_t a[r][t]·b[t][j] for kRows rows and kVectors·kLanes columns, in registers.
template <int kLanes, int kRows, int kVectors, bool kAdd>
FEDPEFT_INLINE void Tile(Factor a, const float* b, std::int64_t b_row, float* c, std::int64_t c_row,
                         std::int64_t depth) {
  using V = Floats<kLanes>;
  V sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      sums[r][i] = V{};
      if (kAdd) sums[r][i] = Load<V>(c + r * c_row + i * kLanes);
    }
  }
  const float *low = a.data, *high = kRows > 3 ? a.data + 3 * a.row : a.data;
  for (std::int64_t t = 0; t < depth; ++t) {
    V terms[kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) terms[i] = Load<V>(b + i * kLanes);
    b += b_row;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      // Two pointers and two distances reach all rows: registers are few.
      const float x = r < 3 ? low[r * a.row] : high[(r - 3) * a.row];
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) sums[r][i] += x * terms[i];
    }
    low += a.step;
    high += a.step;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) Store<V>(sums[r][i], c + r * c_row + i * kLanes);
  }
}

template <int kLanes, int kVectors, bool kAdd>
FEDPEFT_INLINE void Panel(Factor a, const float* b, std::int64_t b_row, float* c, std::int64_t c_row, std::int64_t rows,
                          std::int64_t depth) {
  std::int64_t r = 0;
  const auto from = [&] { return Factor{a.data + r * a.row, a.row, a.step}; };
  for (; r + 6 <= rows; r += 6) Tile<kLanes, 6, kVectors, kAdd>(from(), b, b_row, c + r * c_row, c_row, depth);
  for (; r + 2 <= rows; r += 2) Tile<kLanes, 2, kVectors, kAdd>(from(), b, b_row, c + r * c_row, c_row, depth);
  for (; r < rows; ++r) Tile<kLanes, 1, kVectors, kAdd>(from(), b, b_row, c + r * c_row, c_row, depth);
}

/// c (+)= a·b. Shapes: a [rows, depth], b [depth, columns], c [rows, columns]. Pre: columns are a multiple of kPad.
template <int kLanes, bool kAdd>
FEDPEFT_INLINE void Multiply(Factor a, const float* b, std::int64_t b_row, float* c, std::int64_t c_row,
                             std::int64_t rows, std::int64_t depth, std::int64_t columns) {
  std::int64_t j = 0;
  if constexpr (kLanes == 16) {  // 32 registers: tiles of up to 24
    for (; j + 64 <= columns; j += 64) Panel<16, 4, kAdd>(a, b + j, b_row, c + j, c_row, rows, depth);
    for (; j + 32 <= columns; j += 32) Panel<16, 2, kAdd>(a, b + j, b_row, c + j, c_row, rows, depth);
    for (; j < columns; j += 16) Panel<16, 1, kAdd>(a, b + j, b_row, c + j, c_row, rows, depth);
  } else {
    for (; j < columns; j += 2 * kLanes) Panel<kLanes, 2, kAdd>(a, b + j, b_row, c + j, c_row, rows, depth);
  }
}

}  // namespace fedpeft
