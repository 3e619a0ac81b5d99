#include "peft/model/families.h"

namespace fedpeft {

Result<std::shared_ptr<const BaseModel>> MakeRoberta(const BaseConfig& config, WeightReader& weights) {
  constexpr EncoderNames kNames = {.words = "roberta.embeddings.word_embeddings",
                                   .positions = "roberta.embeddings.position_embeddings",
                                   .types = "roberta.embeddings.token_type_embeddings",
                                   .embedding_norm = "roberta.embeddings.LayerNorm",
                                   .layer = "roberta.encoder.layer.",
                                   .query = "attention.self.query",
                                   .key = "attention.self.key",
                                   .value = "attention.self.value",
                                   .output = "attention.output.dense",
                                   .attention_norm = "attention.output.LayerNorm",
                                   .up = "intermediate.dense",
                                   .down = "output.dense",
                                   .output_norm = "output.LayerNorm",
                                   .pooler = nullptr,
                                   .unused = "roberta.pooler"};
  return MakeEncoder(config, kNames, weights);
}

}  // namespace fedpeft
