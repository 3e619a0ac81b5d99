// GELU, x·Φ(x), forwards and backwards. Compiled for several instruction sets, which give the same but for roundings.
// Torch-free.
#pragma once

#include <cstdint>
#include <span>

namespace fedpeft {

/// One instruction set's, over n ≥ 0 numbers. Φ is within 3e-7 of the normal distribution's.
struct GeluKernel {
  const char* name;
  void (*forward)(const float* x, std::int64_t n, float* y);
  /// d_x = d_y · (Φ(x) + x·φ(x)).
  void (*backward)(const float* x, const float* d_y, std::int64_t n, float* d_x);
};

/// Those that are used here (processor.h), the widest first; never empty.
std::span<const GeluKernel> GeluKernelsOfProcessor();

}  // namespace fedpeft
