// DistilBERT (Sanh et al. 2019): BERT's layers under other names, without token types and pooler; a classifier of two
// linears on the first token.
#include "peft/plan/architecture.h"

namespace fedpeft {

namespace {

void ReadDistilBert(ConfigReader& reader, BaseConfig& config) {
  BaseShape& shape = config.shape;
  shape.vocab_size = reader.Integer("vocab_size", 30522);
  shape.hidden_size = reader.Integer("dim", 768);
  shape.num_hidden_layers = reader.Integer("n_layers", 6);
  shape.num_attention_heads = reader.Integer("n_heads", 12);
  shape.intermediate_size = reader.Integer("hidden_dim", 4 * 768);
  shape.max_position_embeddings = reader.Integer("max_position_embeddings", 512);
  const Result<Activation> activation = ActivationOf(reader.Text("activation", "gelu"));
  if (!activation.ok()) return reader.Fail(activation.status());
  config.settings.activation = *activation;
  // Sinusoidal positions are in the file like learned ones.
  reader.Ignore({"attention_dropout", "dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds",
                 "tie_word_embeddings", "tie_weights_"});
}

void DistilBertSites(const BaseShape& shape, BaseSites& sites) {
  const std::int64_t width = shape.hidden_size, wide = shape.intermediate_size;
  sites.tables = {{"distilbert.embeddings.word_embeddings", shape.vocab_size, width},
                  {"distilbert.embeddings.position_embeddings", shape.max_position_embeddings, width}};
  sites.norms.push_back({"distilbert.embeddings.LayerNorm", -1, width});
  for (int layer = 0; layer < static_cast<int>(shape.num_hidden_layers); ++layer) {
    architecture::AddLayer(shape, layer, "distilbert.transformer.layer." + std::to_string(layer) + ".",
                           {.attention = "attention",
                            .linears = {{"attention.q_lin", width, width},
                                        {"attention.k_lin", width, width},
                                        {"attention.v_lin", width, width},
                                        {"attention.out_lin", width, width},
                                        {"ffn.lin1", width, wide},
                                        {"ffn.lin2", wide, width}},
                            .norms = {{"sa_layer_norm", width}, {"output_layer_norm", width}},
                            .attention_output = "attention.out_lin",
                            .feed_forward_output = "ffn.lin2"},
                           sites);
  }
}

std::vector<HeadLayer> Head(const BaseShape& shape, std::int64_t labels) {
  const std::int64_t width = shape.hidden_size;
  return {{.path = "pre_classifier",
           .in = width,
           .out = width,
           .dropout = false,
           .activation = HeadLayer::Activation::kRelu},
          {.path = "classifier", .in = width, .out = labels}};
}

}  // namespace

void AddDistilBert(std::vector<Architecture>& rows) {
  rows.push_back({"distilbert",
                  {"q_lin", "v_lin"},
                  {"k_lin", "v_lin", "ffn.lin2"},
                  ReadDistilBert,
                  architecture::CheckFullAttention,
                  DistilBertSites,
                  Head});
}

}  // namespace fedpeft
