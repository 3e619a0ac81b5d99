#include "peft/model/families.h"

namespace fedpeft {

Result<std::shared_ptr<const BaseModel>> MakeBert(const BaseConfig& config, WeightReader& weights) {
  constexpr EncoderNames kNames = {.words = "bert.embeddings.word_embeddings",
                                   .positions = "bert.embeddings.position_embeddings",
                                   .types = "bert.embeddings.token_type_embeddings",
                                   .embedding_norm = "bert.embeddings.LayerNorm",
                                   .layer = "bert.encoder.layer.",
                                   .query = "attention.self.query",
                                   .key = "attention.self.key",
                                   .value = "attention.self.value",
                                   .output = "attention.output.dense",
                                   .attention_norm = "attention.output.LayerNorm",
                                   .up = "intermediate.dense",
                                   .down = "output.dense",
                                   .output_norm = "output.LayerNorm",
                                   .pooler = "bert.pooler.dense",
                                   .unused = nullptr};
  return MakeEncoder(config, kNames, weights);
}

}  // namespace fedpeft
