#include "peft/model/families.h"

namespace fedpeft {

Result<std::shared_ptr<const BaseModel>> MakeLlama(const BaseConfig& config, WeightReader& weights) {
  constexpr DecoderNames kNames = {.words = "model.embed_tokens",
                                   .layer = "model.layers.",
                                   .attention_norm = "input_layernorm",
                                   .query = "self_attn.q_proj",
                                   .key = "self_attn.k_proj",
                                   .value = "self_attn.v_proj",
                                   .query_norm = "self_attn.q_norm",
                                   .key_norm = "self_attn.k_norm",
                                   .output = "self_attn.o_proj",
                                   .mlp_norm = "post_attention_layernorm",
                                   .gate = "mlp.gate_proj",
                                   .up = "mlp.up_proj",
                                   .down = "mlp.down_proj",
                                   .final_norm = "model.norm",
                                   .residual_dropout = false};
  return MakeDecoder(config, kNames, weights);
}

}  // namespace fedpeft
