// BaseConfig: all that a model folder's config.json says of its forward pass. The shape is what coordinator and clients
// agree on by value; the settings stay with whoever holds the folder, and are agreed on by its hash.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// `gelu` is the exact one (erf), `gelu_new` its tanh approximation.
enum class Activation { kGelu, kGeluNew, kRelu, kSilu };
/// By transformers' name. Errors: kUnimplemented naming those there are.
Result<Activation> ActivationOf(const std::string& name);
/// The name ActivationOf takes.
const char* ActivationName(Activation activation);

/// Rotary positions (Su et al. 2021), with the scaling of transformers' `linear` and `llama3`.
struct RopeSettings {
  enum class Kind { kPlain, kLinear, kLlama3 } kind = Kind::kPlain;
  double theta = 10000;
  double factor = 1;
  /// Of llama3: wavelengths above original_length / low_factor are stretched by `factor`, below original_length /
  /// high_factor left alone, and interpolated between.
  double low_factor = 1;
  double high_factor = 4;
  std::int64_t original_length = 8192;
};

struct BaseSettings {
  Activation activation = Activation::kGelu;
  double norm_epsilon = 1e-12;
  /// Queries and keys are normalised head by head.
  bool query_key_norms = false;
  RopeSettings rope;
  /// Per layer, how many tokens a token sees, itself included; 0: all before it. Empty: 0 everywhere.
  std::vector<std::int64_t> windows;
  /// Scores are divided by √(head width); and by the layer's number from 1.
  bool scaled_scores = true;
  bool scaled_by_layer = false;
};

struct BaseConfig {
  BaseShape shape;
  BaseSettings settings;
};

/// From the text of a config.json; keys that it leaves out have transformers' defaults.
/// Errors: kInvalidArgument for a mistyped value and CheckBaseShape's; kUnimplemented for a model_type that is not
/// built in, or a setting that is unknown or would change the result in a way that is not.
Result<BaseConfig> ReadBaseConfig(std::string_view json);

}  // namespace fedpeft
