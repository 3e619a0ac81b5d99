#include "peft/model/families.h"

namespace fedpeft {

Result<std::shared_ptr<const BaseModel>> MakeGpt2(const BaseConfig& config, WeightReader& weights) {
  constexpr DecoderNames kNames = {.words = "transformer.wte",
                                   .positions = "transformer.wpe",
                                   .layer = "transformer.h.",
                                   .attention_norm = "ln_1",
                                   .fused = "attn.c_attn",
                                   .output = "attn.c_proj",
                                   .mlp_norm = "ln_2",
                                   .up = "mlp.c_fc",
                                   .down = "mlp.c_proj",
                                   .final_norm = "transformer.ln_f",
                                   .residual_dropout = true};
  return MakeDecoder(config, kNames, weights);
}

}  // namespace fedpeft
