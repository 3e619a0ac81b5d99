// Bottleneck adapters where a layer's attention and feed-forward join the stream: h + s·(Wu·act(Wd·x + bd) + bu).
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class BottleneckHook final : public SiteHook {
 public:
  /// Pre: `tensors` are those that PlanLayout made for this method.
  BottleneckHook(const BottleneckConfig& adapter, const BaseShape& base, const NamedTensors& tensors);

  at::Tensor Sublayer(std::size_t site, const at::Tensor& out, const Joint& joint) const override;

 private:
  /// A plain one has a weight [out, in] and a bias [out], a hypercomplex one factors (phm.h) and a bias.
  struct Linear {
    Trained weight, left, right, bias;
  };
  /// Biases are undefined where nothing is attached.
  struct Adapter {
    Linear down, up;
  };
  at::Tensor Apply(const Linear& linear, const at::Tensor& x) const;
  at::Tensor InputOf(const at::Tensor& out, const Joint& joint) const;

  BottleneckConfig config_;
  /// Shapes: [n, n, n]; undefined for plain linears.
  Trained phm_rule_;
  std::vector<Adapter> adapters_;
};

}  // namespace fedpeft
