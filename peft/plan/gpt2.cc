// GPT-2 (Radford et al. 2019): query, key and value are one linear, and all linears are kept transposed.
#include "peft/plan/architecture.h"

namespace fedpeft {

namespace {

void ReadGpt2(ConfigReader& reader, BaseConfig& config) {
  BaseShape& shape = config.shape;
  shape.vocab_size = reader.Integer("vocab_size", 50257);
  shape.hidden_size = reader.Integer("n_embd", 768);
  shape.num_hidden_layers = reader.Integer("n_layer", 12);
  shape.num_attention_heads = reader.Integer("n_head", 12);
  shape.intermediate_size = reader.Integer("n_inner", 4 * shape.hidden_size);
  shape.max_position_embeddings = reader.Integer("n_positions", 1024);
  BaseSettings& settings = config.settings;
  settings.norm_epsilon = reader.Positive("layer_norm_epsilon", 1e-5);
  settings.scaled_scores = reader.Flag("scale_attn_weights", true);
  settings.scaled_by_layer = reader.Flag("scale_attn_by_inverse_layer_idx", false);
  shape.tie_word_embeddings = reader.Flag("tie_word_embeddings", true);
  const Result<Activation> activation = ActivationOf(reader.Text("activation_function", "gelu_new"));
  if (!activation.ok()) return reader.Fail(activation.status().Annotate("activation_function"));
  settings.activation = *activation;
  // reorder_and_upcast_attn is the same sum in another precision, which transformers leaves out in its fused attention.
  reader.Ignore({"attn_pdrop", "embd_pdrop", "n_ctx", "reorder_and_upcast_attn", "resid_pdrop", "summary_activation",
                 "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"});
}

void Gpt2Sites(const BaseShape& shape, BaseSites& sites) {
  const std::int64_t width = shape.hidden_size, wide = shape.intermediate_size;
  sites.tables = {{"transformer.wte", shape.vocab_size, width},
                  {"transformer.wpe", shape.max_position_embeddings, width}};
  for (int layer = 0; layer < static_cast<int>(shape.num_hidden_layers); ++layer) {
    architecture::AddLayer(shape, layer, "transformer.h." + std::to_string(layer) + ".",
                           {.attention = "attn",
                            .linears = {{"attn.c_attn", width, 3 * width},
                                        {"attn.c_proj", width, width},
                                        {"mlp.c_fc", width, wide},
                                        {"mlp.c_proj", wide, width}},
                            .norms = {{"ln_1", width}, {"ln_2", width}},
                            .attention_output = "attn.c_proj",
                            .feed_forward_output = "mlp.c_proj"},
                           sites);
  }
  sites.norms.push_back({"transformer.ln_f", -1, width});
  for (Site& site : sites.linears) site.transposed = true;
}

}  // namespace

void AddGpt2(std::vector<Architecture>& rows) {
  rows.push_back({"gpt2",
                  {"c_attn"},
                  {"c_attn", "mlp.c_proj"},
                  ReadGpt2,
                  architecture::CheckFullAttention,
                  Gpt2Sites,
                  architecture::ScoreHead,
                  /*predicts_next_token=*/true});
}

}  // namespace fedpeft
