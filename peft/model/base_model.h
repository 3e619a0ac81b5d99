// BaseModel: a frozen encoder or decoder with named sites. The model calls the hook at each site and knows nothing of
// methods; a method gets a site's index into BaseSites and knows nothing of the architecture.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>

#include "peft/core/check.h"
#include "peft/model/attention.h"
#include "peft/model/key_value_cache.h"
#include "peft/model/layers.h"
#include "peft/model/packed_batch.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// Where a sublayer's output joins the stream.
struct Joint {
  /// What the sublayer's residual connection adds to its output. Shapes: [n, C].
  const at::Tensor& stream;
  /// What follows the sum; null in bases that normalise before a sublayer instead.
  const FrozenNorm* norm = nullptr;
};

/// A layer's attention, as what joins it sees it.
struct LayerAttention {
  /// At their positions. Shapes: [n, H·D].
  const at::Tensor& queries;
  const AttentionSpec& spec;
  /// Keys and values that the layer makes of vectors [T, C], which have no positions.
  std::function<KeyValues(const at::Tensor& vectors)> project;
};

/// What a method does to a base while a batch passes through it. This class itself does nothing.
class SiteHook {
 public:
  virtual ~SiteHook() = default;
  /// Table `site` as it is looked up. Shapes: [rows, width].
  virtual at::Tensor Table([[maybe_unused]] std::size_t site, const at::Tensor& base) const { return base; }
  /// The head that predicts the next token, where it is no table. Shapes: [V, C].
  virtual at::Tensor LanguageHead(const at::Tensor& base) const { return base; }
  /// Whether gradients go to the head that predicts the next token, be it a table.
  virtual bool trains_language_head() const { return false; }
  /// Token embeddings, before anything is added to them. Shapes: [N, C].
  virtual at::Tensor Embedded(const at::Tensor& words, [[maybe_unused]] const PackedBatch& batch) const {
    return words;
  }
  /// The output of norm `site`.
  virtual at::Tensor Norm([[maybe_unused]] std::size_t site, const at::Tensor& x, const FrozenNorm& base) const {
    return base(x);
  }
  /// What sublayer `site` adds to the stream instead of `out`. Shapes: [n, C].
  virtual at::Tensor Sublayer([[maybe_unused]] std::size_t site, const at::Tensor& out,
                              [[maybe_unused]] const Joint& joint) const {
    return out;
  }
  /// Keys and values that stand before those of every sequence, at the attention of layer `layer`; undefined: none.
  virtual KeyValues Prefix([[maybe_unused]] std::size_t layer) const { return {}; }
  /// What the attention of layer `layer` gives to its output linear instead of `attended`, which it found among the
  /// tokens. A decoder calls it. Shapes: [n, H·D].
  virtual at::Tensor Attended([[maybe_unused]] std::size_t layer, const at::Tensor& attended,
                              [[maybe_unused]] const LayerAttention& at) const {
    return attended;
  }
  /// The output of linear `site`. Shapes: x [n, in] → [n, out]; n may be less than the batch's rows where the base
  /// needs no more.
  virtual at::Tensor Linear([[maybe_unused]] std::size_t site, const at::Tensor& x, const FrozenLinear& base,
                            [[maybe_unused]] const ForwardMode& mode) const {
    return base(x);
  }
};

/// Immutable after loading; const members are safe on any thread.
class BaseModel {
 public:
  virtual ~BaseModel() = default;
  /// The last hidden states of all tokens, as a language model's head reads them. Shapes: [N, C], in packed order.
  virtual at::Tensor Hidden(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const = 0;
  /// The representation of each sequence that the classification head (HeadLayers) reads: of an encoder its first
  /// token's, of a decoder its last token's. Shapes: [B, C], in the caller's order.
  /// Cost: less than Hidden, because the last layer is computed for these tokens alone.
  virtual at::Tensor Pool(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const = 0;
  /// What enters layer `layer`, at most the number of layers: the states of all tokens that the layers below made.
  /// Shapes: [N, C], in packed order.
  virtual at::Tensor Below(std::size_t layer, const PackedBatch& batch, const SiteHook& hook,
                           const ForwardMode& mode) const = 0;

  /// Whether a token sees only those before it, so that a sequence can go on without being computed again: a decoder.
  virtual bool causal() const { return false; }
  /// The last hidden states of tokens that follow those in `cache`, which takes them up too. Equal to the last rows of
  /// Hidden on the whole sequence. Shapes: [n, C]. Pre: causal(); `next` is PackNext(ids, cache.length(), limits(),
  /// lead), the lead being the hook's.
  virtual at::Tensor Extend([[maybe_unused]] const PackedBatch& next, [[maybe_unused]] const SiteHook& hook,
                            [[maybe_unused]] KeyValueCache& cache) const {
    FEDPEFT_CHECK(false);
  }

  /// Whether the base predicts the next token: a decoder whose folder has the head, or ties it to the embedding.
  virtual bool has_language_head() const { return false; }
  /// Scores of the token after each. Shapes: hidden [n, C] (rows of Hidden) → [n, V]. Pre: has_language_head().
  virtual at::Tensor LanguageLogits([[maybe_unused]] const at::Tensor& hidden,
                                    [[maybe_unused]] const SiteHook& hook) const {
    FEDPEFT_CHECK(false);
  }

  const BaseShape& shape() const { return shape_; }
  const SequenceLimits& limits() const { return limits_; }

 protected:
  BaseModel(BaseShape shape, SequenceLimits limits) : shape_(std::move(shape)), limits_(limits) {}

 private:
  BaseShape shape_;
  SequenceLimits limits_;
};

}  // namespace fedpeft
