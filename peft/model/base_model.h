// BaseModel: a frozen encoder with named sites. The model calls the hook at each site and knows nothing of methods; a
// method gets a site's index into LinearSites(shape) and knows nothing of the architecture.
#pragma once

#include <torch/torch.h>

#include <cstddef>

#include "peft/model/layers.h"
#include "peft/model/packed_batch.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// What a method does to a base while a batch passes through it. This class itself does nothing.
class SiteHook {
 public:
  virtual ~SiteHook() = default;
  /// The output of linear `site`. Shapes: x [n, in] → [n, out]; n may be less than the batch's rows where the base
  /// needs no more.
  virtual torch::Tensor Linear([[maybe_unused]] std::size_t site, const torch::Tensor& x, const FrozenLinear& base,
                               [[maybe_unused]] const ForwardMode& mode) const {
    return base(x);
  }
};

/// Immutable after loading; const members are safe on any thread.
class BaseModel {
 public:
  virtual ~BaseModel() = default;
  /// The representation of each sequence that the classification head reads. Shapes: [B, C], in the caller's order.
  virtual torch::Tensor Pool(const PackedBatch& batch, const SiteHook& hook, const ForwardMode& mode) const = 0;

  const BaseShape& shape() const { return shape_; }
  const SequenceLimits& limits() const { return limits_; }

 protected:
  BaseModel(BaseShape shape, SequenceLimits limits) : shape_(std::move(shape)), limits_(limits) {}

 private:
  BaseShape shape_;
  SequenceLimits limits_;
};

}  // namespace fedpeft
