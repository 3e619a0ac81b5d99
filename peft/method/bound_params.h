// BoundParams: the tensors of a layout as LibTorch sees them, views of ParamVectors without copies. Gradients are
// accumulated straight into a second vector, so that an optimiser over flat buffers finds them.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/params/param_vector.h"

namespace fedpeft {

class BoundParams {
 public:
  /// For training: a tensor that `view` trains is a leaf, whose gradient is the same range of `grads`. Pre: one layout;
  /// both outlive this object.
  BoundParams(ParamVector& values, ParamVector& grads, const ViewSpec& view);
  /// Without gradients.
  explicit BoundParams(const ParamVector& values);

  /// In the layout's order.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }

 private:
  std::vector<at::Tensor> tensors_;
};

}  // namespace fedpeft
