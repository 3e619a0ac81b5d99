// Decoders: pre-norm layers with causal attention. One forward pass for GPT-2 and for all that came after Llama; a
// family is the names of its tensors, what varies within one is in BaseSettings.
// Free of LibTorch's headers.
#pragma once

#include <memory>

#include "peft/core/status.h"
#include "peft/plan/base_config.h"

namespace fedpeft {

class BaseModel;
class WeightReader;

/// Modules of the file, `.weight` and `.bias` left out; those of a layer follow `layer` + its index + `.`. Null: the
/// family has no such thing.
struct DecoderNames {
  const char* words = nullptr;
  /// Learned positions; null: rotary ones.
  const char* positions = nullptr;
  const char* layer = nullptr;
  const char* attention_norm = nullptr;
  /// One linear [C → 3C] for query, key and value; null: the three.
  const char* fused = nullptr;
  const char* query = nullptr;
  const char* key = nullptr;
  const char* value = nullptr;
  /// Read with BaseSettings::query_key_norms.
  const char* query_norm = nullptr;
  const char* key_norm = nullptr;
  const char* output = nullptr;
  const char* mlp_norm = nullptr;
  /// down(act(gate x) · up x); null: down(act(up x)).
  const char* gate = nullptr;
  const char* up = nullptr;
  const char* down = nullptr;
  const char* final_norm = nullptr;
  /// Dropout also on the embeddings and what is added to the stream, not on attention alone.
  bool residual_dropout = false;
};

/// Errors: WeightReader's; and kInvalidArgument for a weight that the architecture has no place for.
Result<std::shared_ptr<const BaseModel>> MakeDecoder(const BaseConfig& config, const DecoderNames& names,
                                                     WeightReader& weights);

}  // namespace fedpeft
