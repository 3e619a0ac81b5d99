// RankScores: how important each triplet of AdaLoRA was while a client trained. Torch-free, over flat buffers.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "peft/params/param_vector.h"
#include "peft/plan/method.h"

namespace fedpeft {

class RankScores {
 public:
  /// Pre: `layout` is AdaLoRA's.
  RankScores(const AdaLoraConfig& config, std::shared_ptr<const ParamLayout> layout);

  /// Takes note of a step: of each value w with gradient g the sensitivity I = |w·g|, its moving average Ī and that of
  /// |I − Ī|. Source: Zhang et al. 2023, equations 8 to 10, as peft 0.21's RankAllocator.
  void Observe(std::span<const float> values, std::span<const float> grads);

  /// A triplet's score is that of its value of E and the means of those of its row of A and column of B, each Ī times
  /// the average of |I − Ī|; zero for one that is all zeros. Shapes: a value a triplet, site after site.
  std::vector<double> Scores() const;
  /// The scores divided by their sum into the score tensors, so that no client weighs more than its examples do; equal
  /// ones where all are zero. Of triplets that are not in use zero.
  void Write(ParamVector& params) const;

 private:
  AdaLoraConfig config_;
  std::shared_ptr<const ParamLayout> layout_;
  std::vector<float> sensitivity_, uncertainty_;
};

}  // namespace fedpeft
