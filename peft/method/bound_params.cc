#include "peft/method/bound_params.h"

#include <torch/torch.h>

namespace fedpeft {

namespace {

torch::Tensor ViewOf(std::span<float> values, const std::vector<std::int64_t>& shape) {
  return torch::from_blob(values.data(), shape, torch::kFloat32);
}

}  // namespace

BoundParams::BoundParams(ParamVector& values, ParamVector& grads, const ViewSpec& view) {
  const std::vector<TensorSpec>& specs = values.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    torch::Tensor tensor = ViewOf(values.tensor(i), specs[i].shape);
    if (view.train[i]) {
      tensor.requires_grad_();
      tensor.mutable_grad() = ViewOf(grads.tensor(i), specs[i].shape);
    }
    tensors_.push_back(std::move(tensor));
  }
}

BoundParams::BoundParams(const ParamVector& values) {
  const std::vector<TensorSpec>& specs = values.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::span<const float> data = values.tensor(i);
    // LibTorch has no tensors of const memory; without gradients nothing writes to these.
    tensors_.push_back(ViewOf({const_cast<float*>(data.data()), data.size()}, specs[i].shape));
  }
}

BoundParams::BoundParams(const ParamVector& values, const ViewSpec& view, std::shared_ptr<const ExampleRows> rows,
                         const torch::Tensor& grads)
    : BoundParams(values) {
  rows_ = std::move(rows);
  std::int64_t column = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (!view.train[i]) continue;
    std::vector<std::int64_t> shape = tensors_[i].sizes().vec();
    shape.insert(shape.begin(), grads.size(0));
    const std::int64_t size = tensors_[i].numel();
    tensors_[i] = tensors_[i].expand(shape).detach().requires_grad_();
    tensors_[i].mutable_grad() = grads.narrow(1, column, size).view(shape);
    column += size;
  }
}

}  // namespace fedpeft
