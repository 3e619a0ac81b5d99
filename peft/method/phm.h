// Parameterised hypercomplex multiplication: a linear whose matrix is a sum of Kronecker products of small factors.
#pragma once

#include <ATen/core/Tensor.h>

namespace fedpeft {

/// x·H + b with H = Σ_i A_i ⊗ (S_i·T_i), [in, out], which is never made: both products are taken factor by factor.
/// Shapes: x [N, in], rule A [n, n, n], left S [n, in/n, r], right T [n, r, out/n], bias [out] → [N, out].
/// Source: Zhang et al. 2021 (PHM), Karimi Mahabadi et al. 2021 (Compacter); shapes as in the `adapters` library.
at::Tensor PhmLinear(const at::Tensor& x, const at::Tensor& rule, const at::Tensor& left, const at::Tensor& right,
                     const at::Tensor& bias);

}  // namespace fedpeft
