// Rotary position embedding (Su et al. 2021) in the half-split form of Hugging Face: element i of a head is turned
// together with element i + D/2, not with its neighbour.
#pragma once

#include <ATen/core/Tensor.h>

#include "peft/plan/base_config.h"

namespace fedpeft {

/// Radians a position, float32 [width / 2]. Source: transformers, modeling_rope_utils.py.
at::Tensor InverseFrequencies(const RopeSettings& rope, std::int64_t width);

/// The turns of a list of positions.
class Rotation {
 public:
  /// Shapes: positions int64 [n], frequencies [D/2].
  Rotation(const at::Tensor& positions, const at::Tensor& frequencies, at::ScalarType dtype);

  /// Shapes: x and the result [n, H, D].
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor cos_, sin_;  // [n, 1, D/2]
};

}  // namespace fedpeft
