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

BoundParams::BoundParams(const ParamVector& values, const ViewSpec& view, std::shared_ptr<const ExampleRows> rows)
    : BoundParams(values) {
  rows_ = std::move(rows);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (!view.train[i]) continue;
    std::vector<std::int64_t> shape = tensors_[i].sizes().vec();
    shape.insert(shape.begin(), rows_->examples);
    tensors_[i] = tensors_[i].expand(shape).detach().requires_grad_();
  }
}

torch::Tensor GradientsOfExamples(const torch::Tensor& loss, const BoundParams& params) {
  std::vector<torch::Tensor> copies;
  for (const torch::Tensor& tensor : params.tensors()) {
    if (tensor.requires_grad()) copies.push_back(tensor);
  }
  std::vector<torch::Tensor> grads = torch::autograd::grad({loss}, copies, /*grad_outputs=*/{}, /*retain_graph=*/false,
                                                           /*create_graph=*/false, /*allow_unused=*/true);
  for (std::size_t i = 0; i < grads.size(); ++i) {
    grads[i] = (grads[i].defined() ? grads[i] : torch::zeros(copies[i].sizes())).flatten(1);
  }
  return torch::cat(grads, /*dim=*/1);
}

}  // namespace fedpeft
