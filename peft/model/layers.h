// The layers that encoders are made of, frozen: weights without gradients, rows in, rows out. They know neither
// batches nor methods; attention is in attention.h, what a method adds comes in through SiteHook (base_model.h).
#pragma once

#include <torch/torch.h>

#include <string>

#include "peft/core/status.h"

namespace fedpeft {

/// y = x·Wᵀ + b. Shapes: x [n, in], weight [out, in], bias [out] or undefined, y [n, out].
struct FrozenLinear {
  torch::Tensor weight;
  torch::Tensor bias;

  torch::Tensor operator()(const torch::Tensor& x) const { return torch::linear(x, weight, bias); }
};

/// Layer normalisation over the last dimension.
struct FrozenNorm {
  torch::Tensor weight;
  torch::Tensor bias;
  double epsilon = 1e-12;

  torch::Tensor operator()(const torch::Tensor& x) const {
    return torch::layer_norm(x, {x.size(-1)}, weight, bias, epsilon, /*cudnn_enable=*/false);
  }
};

/// Names as in config.json: `gelu` is the exact one (erf), `gelu_new` its tanh approximation.
enum class Activation { kGelu, kGeluNew, kRelu };
/// Errors: kUnimplemented.
Result<Activation> ActivationOf(const std::string& name);
torch::Tensor Activate(Activation activation, const torch::Tensor& x);

/// Whether a forward pass trains, and from where it draws dropout.
struct ForwardMode {
  /// Of the base's own layers (embeddings, attention probabilities, outputs); 0 outside of training.
  double base_dropout = 0;
  /// Of the method's branches; 0 outside of training.
  double branch_dropout = 0;
  /// Defined when either is above 0.
  torch::Generator generator;
};

/// Inverted dropout: zero with probability p, else x / (1 − p). p = 0 returns x itself.
torch::Tensor Dropout(const torch::Tensor& x, double p, const torch::Generator& generator);

}  // namespace fedpeft
