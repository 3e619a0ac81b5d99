#include "peft/model/decoder.h"

#include <torch/torch.h>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "peft/model/attention.h"
#include "peft/model/rope.h"
#include "peft/model/weights.h"

namespace fedpeft {

namespace {

using torch::Tensor;

/// x += Wo·attention(Norm(x)); x += mlp(Norm(x)).
struct DecoderLayer {
  std::size_t index = 0;
  AttentionSpec attention;
  SiteNorm attention_norm;
  /// Either this one or the three.
  std::optional<SiteLinear> fused;
  SiteLinear query, key, value;
  std::optional<SiteNorm> query_norm, key_norm;
  SiteLinear output;
  SiteNorm mlp_norm;
  std::optional<SiteLinear> gate;
  SiteLinear up, down;
};

struct DecoderParts {
  Tensor words;
  /// Learned, or else frequencies of rotary ones.
  Tensor positions, frequencies;
  std::vector<DecoderLayer> layers;
  SiteNorm final_norm;
  /// [V, C]; undefined where the folder has none, or it is the table of tokens.
  Tensor language_head;
  bool tied_head = false;
  Activation activation = Activation::kSilu;
  bool residual_dropout = false;
};

/// One pass of a batch: what all layers need.
struct Pass {
  const PackedBatch& batch;
  const SiteHook& hook;
  const ForwardMode& mode;
  /// Of all rows, and of the last tokens'; none with learned positions.
  std::optional<Rotation> turn, turn_last;
  /// What went before, of a sequence that goes on; else null.
  KeyValueCache* cache = nullptr;
};

class Decoder final : public BaseModel {
 public:
  Decoder(const BaseShape& shape, DecoderParts parts)
      : BaseModel(shape, {shape.vocab_size, /*types=*/1, shape.longest()}), parts_(std::move(parts)) {}

  Tensor Hidden(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const override {
    return parts_.final_norm(Below(parts_.layers.size(), batch, hook, mode), hook);
  }

  Tensor Pool(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const override {
    const std::size_t last = parts_.layers.size() - 1;
    if (batch.entry && batch.entry->layer > last) return batch.entry->rows;
    const Pass pass = Begin(batch, hook, mode);
    const Tensor x = RunLastLayer(parts_.layers[last], RunBelow(last, pass), pass);
    return parts_.final_norm(x, hook).index_select(0, batch.rank);
  }

  Tensor Below(std::size_t layer, const PackedBatch& batch, const SiteHook& hook,
               const ForwardMode& mode) const override {
    return RunBelow(layer, Begin(batch, hook, mode));
  }

  bool causal() const override { return true; }
  Tensor Extend(const PackedBatch& next, const SiteHook& hook, KeyValueCache& cache) const override {
    const ForwardMode mode;
    Pass pass = Begin(next, hook, mode);
    pass.cache = &cache;
    if (cache.length() == 0) Begin(cache, hook);
    const Tensor x = RunBelow(parts_.layers.size(), pass);
    cache.Advance(x.size(0));
    return parts_.final_norm(x, hook);
  }

  bool has_language_head() const override { return parts_.tied_head || parts_.language_head.defined(); }
  Tensor LanguageLogits(const Tensor& hidden, const SiteHook& hook) const override {
    return torch::linear(hidden,
                         parts_.tied_head ? hook.Table(0, parts_.words) : hook.LanguageHead(parts_.language_head));
  }

 private:
  struct Projected {
    Tensor q, k, v;
  };

  Pass Begin(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const {
    Pass pass{.batch = batch, .hook = hook, .mode = mode, .turn = {}, .turn_last = {}};
    if (parts_.frequencies.defined()) {
      const auto dtype = parts_.words.scalar_type();
      pass.turn.emplace(batch.positions, parts_.frequencies, dtype);
      pass.turn_last.emplace(batch.positions.index_select(0, batch.last_rows), parts_.frequencies, dtype);
    }
    return pass;
  }

  /// The prefix is what a sequence has seen before its first token.
  void Begin(KeyValueCache& cache, const SiteHook& hook) const {
    std::int64_t length = 0;
    for (const DecoderLayer& layer : parts_.layers) {
      const KeyValues prefix = hook.Prefix(layer.index);
      if (!prefix.keys.defined()) continue;
      length = prefix.keys.size(0);
      cache.Append(layer.index, prefix.keys.to(parts_.words.scalar_type()),
                   prefix.values.to(parts_.words.scalar_type()), layer.attention.window);
    }
    cache.Advance(length);
  }

  Tensor RunBelow(std::size_t layer, const Pass& pass) const {
    const std::optional<Entry>& entry = pass.batch.entry;
    FEDPEFT_CHECK(!entry || entry->layer <= layer);
    Tensor x = entry ? entry->rows : Embed(pass);
    for (std::size_t i = entry ? entry->layer : 0; i < layer; ++i) x = RunLayer(parts_.layers[i], x, pass);
    return x;
  }

  /// [N] ids → [N, C].
  Tensor Embed(const Pass& pass) const {
    // The order of BaseSites::tables.
    Tensor x = pass.hook.Table(0, parts_.words).index_select(0, pass.batch.ids);
    x = pass.hook.Embedded(x, pass.batch);
    if (parts_.positions.defined()) {
      x = x + pass.hook.Table(1, parts_.positions).index_select(0, pass.batch.positions);
    }
    return DropResidual(x, pass);
  }

  Tensor DropResidual(const Tensor& x, const Pass& pass) const {
    return parts_.residual_dropout ? Dropout(x, pass.mode.base_dropout, pass.mode.generator) : x;
  }

  /// [N, C] → [N, C].
  Tensor RunLayer(const DecoderLayer& layer, const Tensor& x, const Pass& pass) const {
    Projected p = Project(layer, layer.attention_norm(x, pass.hook), nullptr, pass);
    p.q = Place(layer.query_norm, p.q, layer.attention.heads, pass.turn, pass.hook);
    return FinishLayer(layer, x, Joined(layer, p.q, Attend(layer, p, pass), pass), pass);
  }

  /// What attention found among the tokens, and what the method makes of it. Shapes: q and the rest [n, H·D].
  static Tensor Joined(const DecoderLayer& layer, const Tensor& q, const Tensor& attended, const Pass& pass) {
    const auto project = [&](const Tensor& vectors) { return Unplaced(layer, vectors, pass); };
    return pass.hook.Attended(layer.index, attended, {q, layer.attention, project});
  }

  /// Keys and values of vectors that have no positions. Shapes: [T, C].
  static KeyValues Unplaced(const DecoderLayer& layer, const Tensor& vectors, const Pass& pass) {
    if (layer.fused) {
      const std::vector<Tensor> parts = (*layer.fused)(vectors, pass.hook, pass.mode).chunk(3, /*dim=*/1);
      return {parts[1], parts[2]};
    }
    const Tensor k = layer.key(vectors, pass.hook, pass.mode);
    return {Place(layer.key_norm, k, layer.attention.kv_heads, {}, pass.hook),
            layer.value(vectors, pass.hook, pass.mode)};
  }

  /// To all tokens before, those in the cache too. Shapes: [N, H·D].
  static Tensor Attend(const DecoderLayer& layer, const Projected& p, const Pass& pass) {
    const auto attend = [&] {
      const KeyValues prefix = pass.hook.Prefix(layer.index);
      return PackedAttention(p.q, p.k, p.v, prefix, pass.batch, layer.attention, pass.mode);
    };
    if (pass.cache == nullptr) return attend();
    const bool first = pass.cache->length() == pass.batch.lead.prefix;
    const KeyValueCache::Rows all = pass.cache->Append(layer.index, p.k, p.v, layer.attention.window);
    if (first) return attend();
    return ContinuedAttention(p.q, all.keys, all.values, layer.attention);
  }

  /// [N, C] → [B, C], in packed order: only the last token's output is read, and it needs the other tokens' keys and
  /// values alone.
  Tensor RunLastLayer(const DecoderLayer& layer, const Tensor& x, const Pass& pass) const {
    const Tensor& rows = pass.batch.last_rows;
    Projected p = Project(layer, layer.attention_norm(x, pass.hook), &rows, pass);
    p.q = Place(layer.query_norm, p.q, layer.attention.heads, pass.turn_last, pass.hook);
    const Tensor attended =
        PooledAttention(p.q, p.k, p.v, pass.hook.Prefix(layer.index), pass.batch, layer.attention, pass.mode);
    return FinishLayer(layer, x.index_select(0, rows), Joined(layer, p.q, attended, pass), pass);
  }

  /// Query, key and value of the normalised x; the query of `rows` alone unless null, and not placed yet.
  Projected Project(const DecoderLayer& layer, const Tensor& x, const Tensor* rows, const Pass& pass) const {
    const auto pick = [rows](const Tensor& all) { return rows == nullptr ? all : all.index_select(0, *rows); };
    if (layer.fused) {
      const std::vector<Tensor> parts = (*layer.fused)(x, pass.hook, pass.mode).chunk(3, /*dim=*/1);
      return {pick(parts[0]), parts[1], parts[2]};
    }
    const Tensor q = layer.query(pick(x), pass.hook, pass.mode), k = layer.key(x, pass.hook, pass.mode);
    return {q, Place(layer.key_norm, k, layer.attention.kv_heads, pass.turn, pass.hook),
            layer.value(x, pass.hook, pass.mode)};
  }

  /// Norm of each head, then its turn, where the family has them. Shapes: x and the result [n, heads·D].
  static Tensor Place(const std::optional<SiteNorm>& norm, const Tensor& x, std::int64_t heads,
                      const std::optional<Rotation>& turn, const SiteHook& hook) {
    if (!norm && !turn) return x;
    Tensor split = x.view({x.size(0), heads, -1});
    if (norm) split = (*norm)(split, hook);
    if (turn) split = (*turn)(split);
    return split.flatten(1);
  }

  /// What follows attention, row by row. Shapes: x, attended and the result [n, C] and [n, H·D].
  Tensor FinishLayer(const DecoderLayer& layer, const Tensor& x, const Tensor& attended, const Pass& pass) const {
    const Tensor added = DropResidual(layer.output(attended, pass.hook, pass.mode), pass);
    const Tensor mixed = x + pass.hook.Sublayer(2 * layer.index, added, {x});
    const Tensor in = layer.mlp_norm(mixed, pass.hook);
    const Tensor up = layer.up(in, pass.hook, pass.mode);
    const Tensor wide = layer.gate ? Activate(parts_.activation, (*layer.gate)(in, pass.hook, pass.mode)) * up
                                   : Activate(parts_.activation, up);
    const Tensor grown = DropResidual(layer.down(wide, pass.hook, pass.mode), pass);
    return mixed + pass.hook.Sublayer(2 * layer.index + 1, grown, {mixed});
  }

  DecoderParts parts_;
};

AttentionSpec AttentionOf(const BaseConfig& config, std::size_t layer) {
  const BaseSettings& settings = config.settings;
  AttentionSpec spec{.heads = config.shape.num_attention_heads, .kv_heads = config.shape.kv_heads(), .causal = true};
  if (!settings.windows.empty()) spec.window = settings.windows[layer];
  if (settings.scaled_scores) spec.scale /= std::sqrt(static_cast<double>(config.shape.head_width()));
  if (settings.scaled_by_layer) spec.scale /= static_cast<double>(layer + 1);
  return spec;
}

Status TakeProjections(const BaseConfig& config, const DecoderNames& names, const std::string& at,
                       WeightReader& weights, DecoderLayer& layer) {
  const BaseSettings& settings = config.settings;
  if (names.fused != nullptr) {
    ASSIGN_OR_RETURN(layer.fused, weights.Linear(at + names.fused));
    return OkStatus();
  }
  ASSIGN_OR_RETURN(layer.query, weights.Linear(at + names.query));
  ASSIGN_OR_RETURN(layer.key, weights.Linear(at + names.key));
  ASSIGN_OR_RETURN(layer.value, weights.Linear(at + names.value));
  if (!settings.query_key_norms) return OkStatus();
  ASSIGN_OR_RETURN(layer.query_norm, weights.Norm(at + names.query_norm, settings.norm_epsilon));
  ASSIGN_OR_RETURN(layer.key_norm, weights.Norm(at + names.key_norm, settings.norm_epsilon));
  return OkStatus();
}

Result<DecoderLayer> TakeLayer(const BaseConfig& config, const DecoderNames& names, std::size_t index,
                               WeightReader& weights) {
  const std::string at = names.layer + std::to_string(index) + ".";
  const auto norm = [&](const char* name) { return weights.Norm(at + name, config.settings.norm_epsilon); };
  DecoderLayer layer;
  layer.index = index;
  layer.attention = AttentionOf(config, index);
  ASSIGN_OR_RETURN(layer.attention_norm, norm(names.attention_norm));
  RETURN_IF_ERROR(TakeProjections(config, names, at, weights, layer));
  ASSIGN_OR_RETURN(layer.output, weights.Linear(at + names.output));
  ASSIGN_OR_RETURN(layer.mlp_norm, norm(names.mlp_norm));
  if (names.gate != nullptr) {
    ASSIGN_OR_RETURN(layer.gate, weights.Linear(at + names.gate));
  }
  ASSIGN_OR_RETURN(layer.up, weights.Linear(at + names.up));
  ASSIGN_OR_RETURN(layer.down, weights.Linear(at + names.down));
  return layer;
}

/// The file's own where it has one, even if config.json ties it, as transformers does when the two differ.
Status TakeLanguageHead(const BaseConfig& config, WeightReader& weights, DecoderParts& parts) {
  const std::string name = "lm_head.weight";
  if (!weights.Has(name)) {
    parts.tied_head = config.shape.tie_word_embeddings;
    return OkStatus();
  }
  ASSIGN_OR_RETURN(parts.language_head, weights.Take(name, {config.shape.vocab_size, config.shape.hidden_size}));
  return OkStatus();
}

Result<DecoderParts> TakeParts(const BaseConfig& config, const DecoderNames& names, WeightReader& weights) {
  const BaseShape& shape = config.shape;
  const std::int64_t width = shape.hidden_size;
  DecoderParts parts;
  parts.activation = config.settings.activation;
  parts.residual_dropout = names.residual_dropout;
  ASSIGN_OR_RETURN(parts.words, weights.Take(std::string(names.words) + ".weight", {shape.vocab_size, width}));
  if (names.positions != nullptr) {
    ASSIGN_OR_RETURN(parts.positions,
                     weights.Take(std::string(names.positions) + ".weight", {shape.max_position_embeddings, width}));
  } else {
    parts.frequencies = InverseFrequencies(config.settings.rope, shape.head_width());
  }
  for (std::int64_t i = 0; i < shape.num_hidden_layers; ++i) {
    ASSIGN_OR_RETURN(DecoderLayer layer, TakeLayer(config, names, static_cast<std::size_t>(i), weights));
    parts.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(parts.final_norm, weights.Norm(names.final_norm, config.settings.norm_epsilon));
  RETURN_IF_ERROR(TakeLanguageHead(config, weights, parts));
  return parts;
}

}  // namespace

Result<std::shared_ptr<const BaseModel>> MakeDecoder(const BaseConfig& config, const DecoderNames& names,
                                                     WeightReader& weights) {
  ASSIGN_OR_RETURN(DecoderParts parts, TakeParts(config, names, weights));
  RETURN_IF_ERROR(weights.CheckAllUsed());
  return std::shared_ptr<const BaseModel>(std::make_shared<Decoder>(config.shape, std::move(parts)));
}

}  // namespace fedpeft
