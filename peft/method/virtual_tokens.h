// What stands in front of every sequence: keys and values (prefix tuning, Li & Liang 2021), or token embeddings (prompt
// tuning, Lester et al. 2021; P-tuning, Liu et al. 2021).
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"
#include "peft/plan/token_encoder.h"

namespace fedpeft {

/// Virtual tokens as they are trained: themselves, or by the MLP that makes them.
class VirtualTokens {
 public:
  /// Pre: `tensors` are those that PlanLayout made for the method of this MLP.
  VirtualTokens(const std::optional<TokenMlp>& mlp, const NamedTensors& tensors);
  /// Shapes: [P, width].
  explicit VirtualTokens(Trained embeddings) : vectors_(std::move(embeddings)) {}

  /// Columns [begin, begin + width) of all of them. Shapes: [P, width]. Cost: of an MLP, what these columns need.
  Trained Columns(std::int64_t begin, std::int64_t width) const;

 private:
  struct Linear {
    at::Tensor weight, bias;
  };
  Trained vectors_;
  /// None: the vectors are the tokens.
  std::vector<Linear> linears_;
  bool tanh_ = false;
};

class PrefixHook final : public SiteHook {
 public:
  /// Of width layers · 2 · Hkv·D: layer after layer its keys, then its values, as `peft` lays them out.
  PrefixHook(const BaseShape& base, VirtualTokens tokens)
      : width_(base.kv_heads() * base.head_width()), tokens_(std::move(tokens)) {}

  KeyValues Prefix(std::size_t layer) const override;

 private:
  std::int64_t width_;
  VirtualTokens tokens_;
};

class PromptHook final : public SiteHook {
 public:
  /// Of width C; `offsets`: to be added to the base's vectors of Lead::ids.
  PromptHook(VirtualTokens tokens, bool offsets) : tokens_(std::move(tokens)), offsets_(offsets) {}

  /// The first rows of each sequence are the prompt's.
  at::Tensor Embedded(const at::Tensor& words, const PackedBatch& batch) const override;

 private:
  VirtualTokens tokens_;
  bool offsets_;
};

}  // namespace fedpeft
