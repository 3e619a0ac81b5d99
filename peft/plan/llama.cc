// Llama (Touvron et al. 2023) and what is built like it: Mistral with its sliding window, Qwen2 with biases on query,
// key and value, Qwen3 with norms on queries and keys. They differ in defaults and settings alone.
#include <algorithm>

#include "peft/plan/architecture.h"
#include "peft/plan/rope_settings.h"

namespace fedpeft {

namespace {

/// Defaults of transformers where they differ within the family.
struct Defaults {
  std::int64_t vocab, intermediate, kv_heads, head_dim, positions;
};

void ReadFamily(ConfigReader& reader, const Defaults& defaults, BaseConfig& config) {
  BaseShape& shape = config.shape;
  shape.vocab_size = reader.Integer("vocab_size", defaults.vocab);
  shape.hidden_size = reader.Integer("hidden_size", 4096);
  shape.num_hidden_layers = reader.Integer("num_hidden_layers", 32);
  shape.num_attention_heads = reader.Integer("num_attention_heads", 32);
  // An explicit null means as many as there are query heads, whatever the default.
  shape.num_key_value_heads =
      reader.Integer("num_key_value_heads", reader.Left("num_key_value_heads") ? defaults.kv_heads : 0);
  shape.head_dim = reader.Integer("head_dim", defaults.head_dim);
  shape.intermediate_size = reader.Integer("intermediate_size", defaults.intermediate);
  shape.max_position_embeddings = reader.Integer("max_position_embeddings", defaults.positions);
  BaseSettings& settings = config.settings;
  settings.norm_epsilon = reader.Positive("rms_norm_eps", 1e-6);
  shape.tie_word_embeddings = reader.Flag("tie_word_embeddings", false);
  settings.rope = ReadRope(reader, shape.max_position_embeddings);
  const Result<Activation> activation = ActivationOf(reader.Text("hidden_act", "silu"));
  if (!activation.ok()) return reader.Fail(activation.status().Annotate("hidden_act"));
  settings.activation = *activation;
  reader.Ignore({"attention_dropout", "pretraining_tp"});
}

void ReadLlama(ConfigReader& reader, BaseConfig& config) {
  ReadFamily(reader, {.vocab = 32000, .intermediate = 11008, .kv_heads = 0, .head_dim = 0, .positions = 2048}, config);
  config.shape.attention_bias = reader.Flag("attention_bias", false);
  config.shape.mlp_bias = reader.Flag("mlp_bias", false);
}

void ReadMistral(ConfigReader& reader, BaseConfig& config) {
  ReadFamily(reader, {.vocab = 32000, .intermediate = 14336, .kv_heads = 8, .head_dim = 0, .positions = 4096 * 32},
             config);
  const std::int64_t window = reader.Integer("sliding_window", reader.Left("sliding_window") ? 4096 : 0);
  const std::int64_t layers = std::min<std::int64_t>(config.shape.num_hidden_layers, 1 << 16);
  config.settings.windows.assign(static_cast<std::size_t>(layers), window);
}

/// Some layers of a Qwen may have a window: those from max_window_layers on, unless layer_types lists them.
void ReadWindows(ConfigReader& reader, BaseConfig& config) {
  const bool used = reader.Flag("use_sliding_window", false);
  const std::int64_t window = reader.Integer("sliding_window", used && reader.Left("sliding_window") ? 4096 : 0);
  const std::int64_t first = reader.Integer("max_window_layers", 28, 0);
  const std::int64_t layers = std::min<std::int64_t>(config.shape.num_hidden_layers, 1 << 16);
  std::vector<std::string> types = reader.Texts("layer_types");
  if (types.empty()) {
    for (std::int64_t i = 0; i < layers; ++i) {
      types.push_back(used && window > 0 && i >= first ? "sliding_attention" : "full_attention");
    }
  }
  if (types.size() != static_cast<std::size_t>(layers)) {
    reader.Fail(InvalidArgument("layer_types: has " + std::to_string(types.size()) + " entries, want one a layer"));
  }
  for (const std::string& type : types) {
    const bool slides = type == "sliding_attention";
    if (!slides && type != "full_attention") {
      reader.Fail(Unimplemented("layer_types: got \"" + type + "\", want full_attention or sliding_attention"));
    }
    if (slides && !(used && window > 0)) {
      reader.Fail(
          InvalidArgument("layer_types: has sliding_attention, want use_sliding_window and sliding_window too"));
    }
    config.settings.windows.push_back(slides ? window : 0);
  }
}

void ReadQwen2(ConfigReader& reader, BaseConfig& config) {
  ReadFamily(reader, {.vocab = 151936, .intermediate = 22016, .kv_heads = 32, .head_dim = 0, .positions = 32768},
             config);
  ReadWindows(reader, config);
}

void ReadQwen3(ConfigReader& reader, BaseConfig& config) {
  ReadFamily(reader, {.vocab = 151936, .intermediate = 22016, .kv_heads = 32, .head_dim = 128, .positions = 32768},
             config);
  config.shape.attention_bias = reader.Flag("attention_bias", false);
  config.settings.query_key_norms = true;
  ReadWindows(reader, config);
}

Status Check(const BaseShape& shape) {
  if (shape.head_width() % 2 == 0) return OkStatus();
  return InvalidArgument("base.head_dim: got " + std::to_string(shape.head_width()) +
                         ", want an even number (rotary positions turn its halves)");
}

void LlamaSites(const BaseShape& shape, BaseSites& sites) {
  const std::int64_t width = shape.hidden_size, wide = shape.intermediate_size, head = shape.head_width();
  const std::int64_t queries = shape.num_attention_heads * head, keys = shape.kv_heads() * head;
  const bool qkv_bias = shape.attention_bias || shape.model_type == "qwen2";
  sites.tables = {{"model.embed_tokens", shape.vocab_size, width}};
  for (int layer = 0; layer < static_cast<int>(shape.num_hidden_layers); ++layer) {
    architecture::LayerRows rows{.attention = "self_attn",
                                 .linears = {{"self_attn.q_proj", width, queries, qkv_bias},
                                             {"self_attn.k_proj", width, keys, qkv_bias},
                                             {"self_attn.v_proj", width, keys, qkv_bias},
                                             {"self_attn.o_proj", queries, width, shape.attention_bias},
                                             {"mlp.gate_proj", width, wide, shape.mlp_bias},
                                             {"mlp.up_proj", width, wide, shape.mlp_bias},
                                             {"mlp.down_proj", wide, width, shape.mlp_bias}},
                                 .norms = {{"input_layernorm", width}, {"post_attention_layernorm", width}},
                                 .norm_bias = false,
                                 .attention_output = "self_attn.o_proj",
                                 .feed_forward_output = "mlp.down_proj"};
    if (shape.model_type == "qwen3") {
      rows.norms.insert(rows.norms.begin() + 1, {{"self_attn.q_norm", head}, {"self_attn.k_norm", head}});
    }
    architecture::AddLayer(shape, layer, "model.layers." + std::to_string(layer) + ".", rows, sites);
  }
  sites.norms.push_back({"model.norm", -1, width, /*bias=*/false});
}

}  // namespace

void AddLlamaFamily(std::vector<Architecture>& rows) {
  const std::vector<std::string_view> targets = {"q_proj", "v_proj"};
  const std::vector<std::string_view> keys = {"k_proj", "v_proj", "down_proj"};
  const std::vector<std::string_view> queries = {"q_proj", "v_proj", "down_proj"};
  rows.push_back({"llama", targets, keys, ReadLlama, Check, LlamaSites, architecture::ScoreHead, true});
  rows.push_back({"mistral", targets, keys, ReadMistral, Check, LlamaSites, architecture::ScoreHead, true});
  rows.push_back({"qwen2", targets, queries, ReadQwen2, Check, LlamaSites, architecture::ScoreHead, true});
  rows.push_back({"qwen3", targets, queries, ReadQwen3, Check, LlamaSites, architecture::ScoreHead, true});
}

}  // namespace fedpeft
