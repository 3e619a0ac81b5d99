#include "peft/model/bert.h"

#include <utility>
#include <vector>

#include "peft/model/attention.h"

namespace fedpeft {

namespace {

using torch::Tensor;

/// One encoder layer. Post-norm: x = Norm(x + Wo·attention(x)); x = Norm(x + W2·act(W1·x)).
struct Layer {
  FrozenLinear query, key, value, output;
  FrozenNorm attention_norm;
  FrozenLinear up, down;
  FrozenNorm output_norm;
};

/// Sites of a layer, in LinearSites' order.
enum LayerSite : std::size_t { kQuery, kKey, kValue, kOutput, kUp, kDown, kSitesPerLayer };

struct Embeddings {
  Tensor words, positions, types;
  FrozenNorm norm;
};

class Bert final : public BaseModel {
 public:
  Bert(BaseShape shape, SequenceLimits limits, Activation activation, Embeddings embeddings, std::vector<Layer> layers,
       FrozenLinear pooler)
      : BaseModel(std::move(shape), limits),
        activation_(activation),
        embeddings_(std::move(embeddings)),
        layers_(std::move(layers)),
        pooler_(std::move(pooler)) {}

  Tensor Pool(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const override {
    Tensor x = Embed(batch, mode);
    for (std::size_t i = 0; i + 1 < layers_.size(); ++i) x = RunLayer(i, x, batch, hook, mode);
    x = RunLastLayer(x, batch, hook, mode);
    const Tensor pooled = torch::tanh(hook.Linear(layers_.size() * kSitesPerLayer, x, pooler_, mode));
    return pooled.index_select(0, batch.rank);
  }

 private:
  /// [N] ids → [N, C].
  Tensor Embed(const PackedBatch& batch, const ForwardMode& mode) const {
    const Tensor sum = embeddings_.words.index_select(0, batch.ids) +
                       embeddings_.types.index_select(0, batch.type_ids) +
                       embeddings_.positions.index_select(0, batch.positions);
    return Dropout(embeddings_.norm(sum), mode.base_dropout, mode.generator);
  }

  /// [N, C] → [N, C].
  Tensor RunLayer(std::size_t i, const Tensor& x, const PackedBatch& batch, const SiteHook& hook,
                  const ForwardMode& mode) const {
    const Layer& layer = layers_[i];
    const std::size_t site = i * kSitesPerLayer;
    const Tensor q = hook.Linear(site + kQuery, x, layer.query, mode);
    const Tensor k = hook.Linear(site + kKey, x, layer.key, mode);
    const Tensor v = hook.Linear(site + kValue, x, layer.value, mode);
    return FinishLayer(i, x, PackedAttention(q, k, v, batch, shape().num_attention_heads, mode), hook, mode);
  }

  /// [N, C] → [B, C], in packed order: of the last layer only the first token's output is read, and it needs the other
  /// tokens' keys and values alone.
  Tensor RunLastLayer(const Tensor& x, const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const {
    const std::size_t i = layers_.size() - 1, site = i * kSitesPerLayer;
    const Tensor first = x.index_select(0, batch.first_rows);
    const Tensor q = hook.Linear(site + kQuery, first, layers_[i].query, mode);
    const Tensor k = hook.Linear(site + kKey, x, layers_[i].key, mode);
    const Tensor v = hook.Linear(site + kValue, x, layers_[i].value, mode);
    return FinishLayer(i, first, FirstTokenAttention(q, k, v, batch, shape().num_attention_heads, mode), hook, mode);
  }

  /// What follows attention, row by row. Shapes: x, attended and the result [n, C].
  Tensor FinishLayer(std::size_t i, const Tensor& x, const Tensor& attended, const SiteHook& hook,
                     const ForwardMode& mode) const {
    const Layer& layer = layers_[i];
    const std::size_t site = i * kSitesPerLayer;
    const auto drop = [&](const Tensor& rows) { return Dropout(rows, mode.base_dropout, mode.generator); };
    const Tensor mixed = layer.attention_norm(drop(hook.Linear(site + kOutput, attended, layer.output, mode)) + x);
    const Tensor wide = Activate(activation_, hook.Linear(site + kUp, mixed, layer.up, mode));
    return layer.output_norm(drop(hook.Linear(site + kDown, wide, layer.down, mode)) + mixed);
  }

  Activation activation_;
  Embeddings embeddings_;
  std::vector<Layer> layers_;
  FrozenLinear pooler_;
};

Result<Embeddings> TakeEmbeddings(const BaseShape& shape, const BertSettings& settings, WeightReader& weights) {
  const std::int64_t width = shape.hidden_size;
  Embeddings embeddings;
  const std::string at = "embeddings.";
  ASSIGN_OR_RETURN(embeddings.words, weights.Take(at + "word_embeddings.weight", {shape.vocab_size, width}));
  ASSIGN_OR_RETURN(embeddings.positions,
                   weights.Take(at + "position_embeddings.weight", {shape.max_position_embeddings, width}));
  ASSIGN_OR_RETURN(embeddings.types, weights.Take(at + "token_type_embeddings.weight", {settings.types, width}));
  ASSIGN_OR_RETURN(embeddings.norm, weights.Norm(at + "LayerNorm", width, settings.norm_epsilon));
  return embeddings;
}

Result<Layer> TakeLayer(const BaseShape& shape, std::int64_t index, double epsilon, WeightReader& weights) {
  const std::int64_t width = shape.hidden_size, wide = shape.intermediate_size;
  const std::string at = "encoder.layer." + std::to_string(index) + ".";
  Layer layer;
  ASSIGN_OR_RETURN(layer.query, weights.Linear(at + "attention.self.query", width, width));
  ASSIGN_OR_RETURN(layer.key, weights.Linear(at + "attention.self.key", width, width));
  ASSIGN_OR_RETURN(layer.value, weights.Linear(at + "attention.self.value", width, width));
  ASSIGN_OR_RETURN(layer.output, weights.Linear(at + "attention.output.dense", width, width));
  ASSIGN_OR_RETURN(layer.attention_norm, weights.Norm(at + "attention.output.LayerNorm", width, epsilon));
  ASSIGN_OR_RETURN(layer.up, weights.Linear(at + "intermediate.dense", width, wide));
  ASSIGN_OR_RETURN(layer.down, weights.Linear(at + "output.dense", wide, width));
  ASSIGN_OR_RETURN(layer.output_norm, weights.Norm(at + "output.LayerNorm", width, epsilon));
  return layer;
}

/// Heads of other tasks; the run brings its own.
const std::vector<std::string>& OtherHeads() {
  static const std::vector<std::string> names = {"cls.", "bert.cls.", "classifier.", "bert.classifier."};
  return names;
}

}  // namespace

Result<std::shared_ptr<const BaseModel>> MakeBert(const BaseShape& shape, const BertSettings& settings,
                                                  WeightReader& weights) {
  ASSIGN_OR_RETURN(Embeddings embeddings, TakeEmbeddings(shape, settings, weights));
  std::vector<Layer> layers;
  for (std::int64_t i = 0; i < shape.num_hidden_layers; ++i) {
    ASSIGN_OR_RETURN(Layer layer, TakeLayer(shape, i, settings.norm_epsilon, weights));
    layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(FrozenLinear pooler, weights.Linear("pooler.dense", shape.hidden_size, shape.hidden_size));
  RETURN_IF_ERROR(weights.CheckAllUsed(OtherHeads()));
  const SequenceLimits limits{shape.vocab_size, settings.types, shape.max_position_embeddings};
  return std::shared_ptr<const BaseModel>(std::make_shared<Bert>(
      shape, limits, settings.activation, std::move(embeddings), std::move(layers), std::move(pooler)));
}

}  // namespace fedpeft
