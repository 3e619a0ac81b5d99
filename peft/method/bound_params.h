// BoundParams: the tensors of a layout as LibTorch sees them, views of ParamVectors without copies. Gradients are
// accumulated straight into a second vector, so that an optimiser over flat buffers finds them.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "peft/method/trained.h"
#include "peft/params/param_vector.h"

namespace fedpeft {

class BoundParams {
 public:
  /// For training: a tensor that `view` trains is a leaf, whose gradient is the same range of `grads`. Pre: one layout;
  /// both outlive this object.
  BoundParams(ParamVector& values, ParamVector& grads, const ViewSpec& view);
  /// Without gradients.
  explicit BoundParams(const ParamVector& values);
  /// For gradients of single examples, which own `rows`: a tensor that `view` trains is a leaf of copies (trained.h).
  /// Pre: `values` outlive this object.
  BoundParams(const ParamVector& values, const ViewSpec& view, std::shared_ptr<const ExampleRows> rows);

  /// In the layout's order.
  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  /// Null but for gradients of single examples.
  const std::shared_ptr<const ExampleRows>& rows() const { return rows_; }

 private:
  std::vector<at::Tensor> tensors_;
  std::shared_ptr<const ExampleRows> rows_;
};

/// The gradient of each example's share of `loss`, which is a sum over them: row b is example b's, of all tensors that
/// are trained, in the layout's order. Shapes: [B, elements]. Pre: `params` are for gradients of single examples;
/// called once.
at::Tensor GradientsOfExamples(const at::Tensor& loss, const BoundParams& params);

}  // namespace fedpeft
