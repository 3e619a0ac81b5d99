// BERT (Devlin et al. 2018) and RoBERTa (Liu et al. 2019): the same layers; RoBERTa's positions begin after its padding
// token, and its classifier reads the first token through a linear of its own instead of BERT's pooler.
#include "peft/plan/architecture.h"

namespace fedpeft {

namespace {

void ReadEncoder(ConfigReader& reader, BaseConfig& config) {
  BaseShape& shape = config.shape;
  shape.hidden_size = reader.Integer("hidden_size", 768);
  shape.num_hidden_layers = reader.Integer("num_hidden_layers", 12);
  shape.num_attention_heads = reader.Integer("num_attention_heads", 12);
  shape.intermediate_size = reader.Integer("intermediate_size", 3072);
  shape.max_position_embeddings = reader.Integer("max_position_embeddings", 512);
  config.settings.norm_epsilon = reader.Positive("layer_norm_eps", 1e-12);
  shape.type_vocab_size = reader.Integer("type_vocab_size", 2, 1, 1 << 16);
  const Result<Activation> activation = ActivationOf(reader.Text("hidden_act", "gelu"));
  if (!activation.ok()) return reader.Fail(activation.status().Annotate("hidden_act"));
  config.settings.activation = *activation;
  const std::string positions = reader.Text("position_embedding_type", "absolute");
  if (positions != "absolute") {
    reader.Fail(Unimplemented("position_embedding_type: got \"" + positions + "\", want \"absolute\""));
  }
  reader.Ignore({"attention_probs_dropout_prob", "directionality", "hidden_dropout_prob", "pooler_fc_size",
                 "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
                 "tie_word_embeddings"});
}

void ReadBert(ConfigReader& reader, BaseConfig& config) {
  ReadEncoder(reader, config);
  config.shape.vocab_size = reader.Integer("vocab_size", 30522);
}

void ReadRoberta(ConfigReader& reader, BaseConfig& config) {
  ReadEncoder(reader, config);
  config.shape.vocab_size = reader.Integer("vocab_size", 50265);
  config.shape.position_offset = reader.Integer("pad_token_id", 1, 0) + 1;
}

void AddLayers(const BaseShape& shape, const std::string& base, BaseSites& sites) {
  const std::int64_t width = shape.hidden_size, wide = shape.intermediate_size;
  sites.tables = {{base + "embeddings.word_embeddings", shape.vocab_size, width},
                  {base + "embeddings.position_embeddings", shape.max_position_embeddings, width},
                  {base + "embeddings.token_type_embeddings", shape.type_vocab_size, width}};
  sites.norms.push_back({base + "embeddings.LayerNorm", -1, width});
  for (int layer = 0; layer < static_cast<int>(shape.num_hidden_layers); ++layer) {
    architecture::AddLayer(shape, layer, base + "encoder.layer." + std::to_string(layer) + ".",
                           {.attention = "attention.self",
                            .linears = {{"attention.self.query", width, width},
                                        {"attention.self.key", width, width},
                                        {"attention.self.value", width, width},
                                        {"attention.output.dense", width, width},
                                        {"intermediate.dense", width, wide},
                                        {"output.dense", wide, width}},
                            .norms = {{"attention.output.LayerNorm", width}, {"output.LayerNorm", width}},
                            .attention_output = "attention.output.dense",
                            .feed_forward_output = "output.dense"},
                           sites);
  }
}

void BertSites(const BaseShape& shape, BaseSites& sites) {
  AddLayers(shape, "bert.", sites);
  sites.linears.push_back({"bert.pooler.dense", -1, shape.hidden_size, shape.hidden_size});
}

void RobertaSites(const BaseShape& shape, BaseSites& sites) {
  AddLayers(shape, "roberta.", sites);
}

std::vector<HeadLayer> BertHead(const BaseShape& shape, std::int64_t labels) {
  return {{.path = "classifier", .in = shape.hidden_size, .out = labels}};
}

std::vector<HeadLayer> RobertaHead(const BaseShape& shape, std::int64_t labels) {
  const std::int64_t width = shape.hidden_size;
  return {{.path = "classifier.dense", .in = width, .out = width, .activation = HeadLayer::Activation::kTanh},
          {.path = "classifier.out_proj", .in = width, .out = labels}};
}

}  // namespace

void AddBertFamily(std::vector<Architecture>& rows) {
  const std::vector<std::string_view> targets = {"query", "value"};
  const std::vector<std::string_view> ia3 = {"key", "value", "output.dense"};
  rows.push_back({"bert", targets, ia3, ReadBert, architecture::CheckFullAttention, BertSites, BertHead});
  rows.push_back({"roberta", targets, ia3, ReadRoberta, architecture::CheckFullAttention, RobertaSites, RobertaHead});
}

}  // namespace fedpeft
