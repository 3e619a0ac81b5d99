// What stands in front of every sequence: keys and values (prefix tuning, Li & Liang 2021), or token embeddings (prompt
// tuning, Lester et al. 2021).
#pragma once

#include <torch/torch.h>

#include "peft/model/base_model.h"

namespace fedpeft {

class PrefixHook final : public SiteHook {
 public:
  /// Shapes: embeddings [P, layers · 2 · Hkv·D]: layer after layer its keys, then its values, as `peft` lays them out.
  PrefixHook(const BaseShape& base, torch::Tensor embeddings)
      : width_(base.kv_heads() * base.head_width()), embeddings_(std::move(embeddings)) {}

  KeyValues Prefix(std::size_t layer) const override {
    const auto at = 2 * static_cast<std::int64_t>(layer) * width_;
    return {embeddings_.narrow(1, at, width_), embeddings_.narrow(1, at + width_, width_)};
  }

 private:
  std::int64_t width_;
  torch::Tensor embeddings_;
};

class PromptHook final : public SiteHook {
 public:
  /// Shapes: embeddings [P, C].
  explicit PromptHook(torch::Tensor embeddings) : embeddings_(std::move(embeddings)) {}

  /// The first rows of each sequence are the prompt's.
  torch::Tensor Embedded(const torch::Tensor& words, const PackedBatch& batch) const override;

 private:
  torch::Tensor embeddings_;
};

}  // namespace fedpeft
