#include "peft/model/encoder.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "peft/model/attention.h"
#include "peft/model/weights.h"

namespace fedpeft {

namespace {

using torch::Tensor;

/// x = Norm(x + Wo·attention(x)); x = Norm(x + W2·act(W1·x)).
struct EncoderLayer {
  std::size_t index = 0;
  SiteLinear query, key, value, output;
  SiteNorm attention_norm;
  SiteLinear up, down;
  SiteNorm output_norm;
};

struct EncoderParts {
  Tensor words, positions;
  /// Undefined where there are none.
  Tensor types;
  SiteNorm embedding_norm;
  std::vector<EncoderLayer> layers;
  std::optional<SiteLinear> pooler;
};

AttentionSpec AttentionOf(const BaseShape& shape) {
  return {.heads = shape.num_attention_heads,
          .kv_heads = shape.num_attention_heads,
          .scale = 1 / std::sqrt(static_cast<double>(shape.head_width()))};
}

class Encoder final : public BaseModel {
 public:
  Encoder(const BaseConfig& config, EncoderParts parts)
      : BaseModel(config.shape, {config.shape.vocab_size, std::max<std::int64_t>(1, config.shape.type_vocab_size),
                                 config.shape.longest()}),
        activation_(config.settings.activation),
        attention_(AttentionOf(config.shape)),
        parts_(std::move(parts)) {}

  Tensor Hidden(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const override {
    return Below(parts_.layers.size(), batch, hook, mode);
  }

  Tensor Pool(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const override {
    const std::size_t last = parts_.layers.size() - 1;
    if (batch.entry && batch.entry->layer > last) return batch.entry->rows;
    Tensor x = RunLastLayer(parts_.layers[last], Below(last, batch, hook, mode), batch, hook, mode);
    if (parts_.pooler) x = torch::tanh((*parts_.pooler)(x, hook, mode));
    return x.index_select(0, batch.rank);
  }

  Tensor Below(std::size_t layer, const PackedBatch& batch, const SiteHook& hook,
               const ForwardMode& mode) const override {
    FEDPEFT_CHECK(!batch.entry || batch.entry->layer <= layer);
    Tensor x = batch.entry ? batch.entry->rows : Embed(batch, hook, mode);
    for (std::size_t i = batch.entry ? batch.entry->layer : 0; i < layer; ++i) {
      x = RunLayer(parts_.layers[i], x, batch, hook, mode);
    }
    return x;
  }

 private:
  /// [N] ids → [N, C].
  Tensor Embed(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const {
    // The order of BaseSites::tables.
    Tensor sum = hook.Embedded(hook.Table(0, parts_.words).index_select(0, batch.ids), batch);
    if (parts_.types.defined()) sum = sum + hook.Table(2, parts_.types).index_select(0, batch.type_ids);
    sum = sum + hook.Table(1, parts_.positions).index_select(0, Positions(batch));
    return Dropout(parts_.embedding_norm(sum, hook), mode.base_dropout, mode.generator);
  }

  /// With an offset, padding tokens do not count and are at the position before the first, also where a text itself
  /// holds one. Source: transformers, create_position_ids_from_input_ids, and of texts behind a prompt, whose ids it
  /// does not see, create_position_ids_from_inputs_embeds.
  Tensor Positions(const PackedBatch& batch) const {
    const std::int64_t padding = shape().position_offset - 1;
    if (padding < 0) return batch.positions;
    if (batch.lead.prompt > 0) return batch.positions + shape().position_offset;
    const Tensor counts = (batch.ids != padding).to(torch::kInt64);
    const Tensor sums = counts.cumsum(0);
    const Tensor first_row = torch::arange(batch.ids.size(0)) - (batch.positions - batch.lead.prefix);
    return (sums - (sums - counts).index_select(0, first_row) + batch.lead.prefix) * counts + padding;
  }

  /// [N, C] → [N, C].
  Tensor RunLayer(const EncoderLayer& layer, const Tensor& x, const PackedBatch& batch, const SiteHook& hook,
                  const ForwardMode& mode) const {
    const Tensor q = layer.query(x, hook, mode), k = layer.key(x, hook, mode), v = layer.value(x, hook, mode);
    const Tensor attended = PackedAttention(q, k, v, hook.Prefix(layer.index), batch, attention_, mode);
    return FinishLayer(layer, x, attended, hook, mode);
  }

  /// [N, C] → [B, C], in packed order: of the last layer only the first token's output is read, and it needs the other
  /// tokens' keys and values alone.
  Tensor RunLastLayer(const EncoderLayer& layer, const Tensor& x, const PackedBatch& batch, const SiteHook& hook,
                      const ForwardMode& mode) const {
    const Tensor first = x.index_select(0, batch.first_rows);
    const Tensor q = layer.query(first, hook, mode), k = layer.key(x, hook, mode), v = layer.value(x, hook, mode);
    const Tensor attended = PooledAttention(q, k, v, hook.Prefix(layer.index), batch, attention_, mode);
    return FinishLayer(layer, first, attended, hook, mode);
  }

  /// What follows attention, row by row. Shapes: x, attended and the result [n, C].
  Tensor FinishLayer(const EncoderLayer& layer, const Tensor& x, const Tensor& attended, const SiteHook& hook,
                     const ForwardMode& mode) const {
    const auto drop = [&](const Tensor& rows) { return Dropout(rows, mode.base_dropout, mode.generator); };
    const Tensor added = drop(layer.output(attended, hook, mode));
    const Tensor mixed =
        layer.attention_norm(hook.Sublayer(2 * layer.index, added, {x, &layer.attention_norm.norm}) + x, hook);
    const Tensor wide = Activate(activation_, layer.up(mixed, hook, mode));
    const Tensor grown = drop(layer.down(wide, hook, mode));
    return layer.output_norm(hook.Sublayer(2 * layer.index + 1, grown, {mixed, &layer.output_norm.norm}) + mixed, hook);
  }

  Activation activation_;
  AttentionSpec attention_;
  EncoderParts parts_;
};

Result<EncoderLayer> TakeLayer(const BaseConfig& config, const EncoderNames& names, std::int64_t index,
                               WeightReader& weights) {
  const std::string at = names.layer + std::to_string(index) + ".";
  const double epsilon = config.settings.norm_epsilon;
  EncoderLayer layer;
  layer.index = static_cast<std::size_t>(index);
  ASSIGN_OR_RETURN(layer.query, weights.Linear(at + names.query));
  ASSIGN_OR_RETURN(layer.key, weights.Linear(at + names.key));
  ASSIGN_OR_RETURN(layer.value, weights.Linear(at + names.value));
  ASSIGN_OR_RETURN(layer.output, weights.Linear(at + names.output));
  ASSIGN_OR_RETURN(layer.attention_norm, weights.Norm(at + names.attention_norm, epsilon));
  ASSIGN_OR_RETURN(layer.up, weights.Linear(at + names.up));
  ASSIGN_OR_RETURN(layer.down, weights.Linear(at + names.down));
  ASSIGN_OR_RETURN(layer.output_norm, weights.Norm(at + names.output_norm, epsilon));
  return layer;
}

Result<EncoderParts> TakeParts(const BaseConfig& config, const EncoderNames& names, WeightReader& weights) {
  const BaseShape& shape = config.shape;
  const std::int64_t width = shape.hidden_size;
  const auto table = [](const char* name) { return std::string(name) + ".weight"; };
  EncoderParts parts;
  ASSIGN_OR_RETURN(parts.words, weights.Take(table(names.words), {shape.vocab_size, width}));
  ASSIGN_OR_RETURN(parts.positions, weights.Take(table(names.positions), {shape.max_position_embeddings, width}));
  if (names.types != nullptr) {
    ASSIGN_OR_RETURN(parts.types, weights.Take(table(names.types), {shape.type_vocab_size, width}));
  }
  ASSIGN_OR_RETURN(parts.embedding_norm, weights.Norm(names.embedding_norm, config.settings.norm_epsilon));
  for (std::int64_t i = 0; i < shape.num_hidden_layers; ++i) {
    ASSIGN_OR_RETURN(EncoderLayer layer, TakeLayer(config, names, i, weights));
    parts.layers.push_back(std::move(layer));
  }
  if (names.pooler != nullptr) {
    ASSIGN_OR_RETURN(parts.pooler, weights.Linear(names.pooler));
  }
  return parts;
}

}  // namespace

Result<std::shared_ptr<const BaseModel>> MakeEncoder(const BaseConfig& config, const EncoderNames& names,
                                                     WeightReader& weights) {
  ASSIGN_OR_RETURN(EncoderParts parts, TakeParts(config, names, weights));
  RETURN_IF_ERROR(weights.CheckAllUsed(names.unused));
  return std::shared_ptr<const BaseModel>(std::make_shared<Encoder>(config, std::move(parts)));
}

}  // namespace fedpeft
