// Small layouts and updates for the tests of this folder.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/params/layout.h"

namespace fedpeft::aggregation::testing {

inline TensorSpec Tensor(std::string name, std::vector<std::int64_t> shape) {
  TensorSpec tensor;
  tensor.name = std::move(name);
  tensor.shape = std::move(shape);
  return tensor;
}

/// Two tensors, `a` of [2,3] and `b` of `tail` elements; all of it travels.
inline std::shared_ptr<const ParamLayout> TwoTensors(std::int64_t tail = 4) {
  return *ParamLayout::Make({Tensor("a", {2, 3}), Tensor("b", {tail})});
}

inline std::shared_ptr<const ParamLayout> Scalar() {
  return *ParamLayout::Make({Tensor("x", {1})});
}

inline PayloadLayout WholePayload(const ParamLayout& layout, double max_abs) {
  return DensePayload(layout, std::vector<bool>(layout.tensors().size(), true), max_abs);
}

inline ByteSpan Wire(const std::vector<float>& values) {
  return AsBytes(std::span<const float>(values));
}

}  // namespace fedpeft::aggregation::testing
