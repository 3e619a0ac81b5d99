// Encoders after BERT: post-norm layers with attention in both directions. One forward pass for all of them; a family
// is the names of its tensors. Free of LibTorch's headers.
#pragma once

#include <memory>

#include "peft/core/status.h"
#include "peft/plan/base_config.h"

namespace fedpeft {

class BaseModel;
class WeightReader;

/// Modules of the file, `.weight` and `.bias` left out; those of a layer follow `layer` + its index + `.`.
struct EncoderNames {
  const char* words;
  const char* positions;
  /// Null: there are no token types.
  const char* types;
  const char* embedding_norm;
  const char* layer;
  const char* query;
  const char* key;
  const char* value;
  const char* output;
  const char* attention_norm;
  const char* up;
  const char* down;
  const char* output_norm;
  /// A linear and tanh on the first token; null: the token itself.
  const char* pooler;
  /// A module that the file may have, and nobody reads; null: none.
  const char* unused;
};

/// Errors: WeightReader's; and kInvalidArgument for a weight that the architecture has no place for.
Result<std::shared_ptr<const BaseModel>> MakeEncoder(const BaseConfig& config, const EncoderNames& names,
                                                     WeightReader& weights);

}  // namespace fedpeft
