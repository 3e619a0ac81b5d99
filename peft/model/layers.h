// The layers that bases are made of, frozen: weights without gradients, rows in, rows out. They know neither batches
// nor methods; attention is in attention.h, what a method adds comes in through SiteHook (base_model.h).
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include "peft/model/int8_linear.h"
#include "peft/plan/base_config.h"

namespace fedpeft {

/// y = x·Wᵀ + b. Shapes: x [n, in], weight [out, in], bias [out] or undefined, y [n, out].
struct FrozenLinear {
  at::Tensor weight;
  at::Tensor bias;
  /// Undefined: products are of the weight's own type.
  Int8Weight int8 = {};

  at::Tensor operator()(const at::Tensor& x) const;
};

/// Normalisation over the last dimension: to mean 0 and variance 1 where there is a bias (LayerNorm), else to mean
/// square 1 (RMSNorm), computed in float32 whatever the type of x.
struct FrozenNorm {
  at::Tensor weight;
  at::Tensor bias;
  double epsilon = 1e-12;

  at::Tensor operator()(const at::Tensor& x) const;
  /// x normalised, before weight and bias.
  at::Tensor Unit(const at::Tensor& x) const;
};

at::Tensor Activate(Activation activation, const at::Tensor& x);

/// Whether a forward pass trains, and from where it draws dropout.
struct ForwardMode {
  /// Of the base's own layers (embeddings, attention probabilities, outputs); 0 outside of training.
  double base_dropout = 0;
  /// Of the method's branches; 0 outside of training.
  double branch_dropout = 0;
  /// Defined when either is above 0.
  at::Generator generator;
};

/// Inverted dropout: zero with probability p, else x / (1 − p). p = 0 returns x itself.
at::Tensor Dropout(const at::Tensor& x, double p, const at::Generator& generator);

}  // namespace fedpeft
