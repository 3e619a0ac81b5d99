#include "peft/model/families.h"

namespace fedpeft {

Result<std::shared_ptr<const BaseModel>> MakeDistilBert(const BaseConfig& config, WeightReader& weights) {
  constexpr EncoderNames kNames = {.words = "distilbert.embeddings.word_embeddings",
                                   .positions = "distilbert.embeddings.position_embeddings",
                                   .types = nullptr,
                                   .embedding_norm = "distilbert.embeddings.LayerNorm",
                                   .layer = "distilbert.transformer.layer.",
                                   .query = "attention.q_lin",
                                   .key = "attention.k_lin",
                                   .value = "attention.v_lin",
                                   .output = "attention.out_lin",
                                   .attention_norm = "sa_layer_norm",
                                   .up = "ffn.lin1",
                                   .down = "ffn.lin2",
                                   .output_norm = "output_layer_norm",
                                   .pooler = nullptr,
                                   .unused = nullptr};
  return MakeEncoder(config, kNames, weights);
}

}  // namespace fedpeft
