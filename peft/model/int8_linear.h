// Frozen linears whose products are of bytes: on processors with instructions for it several times as fast. Source:
// Wortsman et al., Stable and low-precision training for large-scale vision-language models, 2023 (SwitchBack; here the
// weight gradient is not needed at all).
#pragma once

#include <ATen/core/Tensor.h>

namespace fedpeft {

/// W ≈ diag(scales)·values.
struct Int8Weight {
  /// [out, in], −127 to 127.
  at::Tensor values;
  /// [out], float32: what a byte of each row is worth.
  at::Tensor scales;

  bool defined() const { return values.defined(); }
};

/// Each row by its own largest value. Shapes: weight [out, in] of floats.
Int8Weight ToInt8(const at::Tensor& weight);

/// x·Wᵀ + bias, x by rows in bytes too, sums exact in 32 bits. Gradients go to x, each row of W's rows' weighted
/// gradient in bytes, and exactly to bias. Shapes: x [n, in] float32, bias [out], dense, or undefined → [n, out].
at::Tensor Int8Linear(const at::Tensor& x, const Int8Weight& weight, const at::Tensor& bias);

/// Whether this processor's products of bytes are exact: older ones saturate in 16 bits on the way.
bool Int8IsExact();

}  // namespace fedpeft
