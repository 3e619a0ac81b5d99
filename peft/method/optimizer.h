// Local optimisers over flat buffers: AdamW and SGD with momentum, equal to torch.optim's, without LibTorch. They see
// one buffer of parameters and one of gradients, and the ranges of them that are trained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "peft/params/layout.h"

namespace fedpeft {

/// Elements [begin, end) of a flat buffer.
struct FlatRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The ranges of the tensors that `view` trains; neighbours are joined.
std::vector<FlatRange> TrainedRanges(const ParamLayout& layout, const ViewSpec& view);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step on the trained ranges; the rest of `params` is not touched. Pre: both have the optimiser's size.
  virtual void Step(std::span<float> params, std::span<const float> grads, double learning_rate) = 0;
};

/// Decoupled weight decay. Source: Loshchilov and Hutter 2019; arithmetic as torch.optim.AdamW.
struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};
std::unique_ptr<Optimizer> MakeAdamW(const AdamWConfig& config, std::size_t size, std::vector<FlatRange> ranges);

/// Weight decay is added to the gradient, momentum is not dampened: torch.optim.SGD's defaults.
struct SgdConfig {
  double momentum = 0;
  double weight_decay = 0;
};
std::unique_ptr<Optimizer> MakeSgd(const SgdConfig& config, std::size_t size, std::vector<FlatRange> ranges);

/// Scales the ranges down to joint L2 norm `max_norm` when they exceed it, as torch.nn.utils.clip_grad_norm_; 0 clips
/// nothing. Returns the norm before, NaN or infinite when a gradient is.
double ClipGradients(std::span<float> grads, std::span<const FlatRange> ranges, double max_norm);

}  // namespace fedpeft
