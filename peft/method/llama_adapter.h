// LLaMA-Adapter (Zhang et al. 2023): what each query of a layer finds among trained vectors, by a softmax over these
// alone, is added to what it finds among the tokens, times a trained gate.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"

namespace fedpeft {

class LlamaAdapterHook final : public SiteHook {
 public:
  /// Pre: `tensors` are those that PlanLayout made for this method.
  LlamaAdapterHook(const BaseShape& base, const NamedTensors& tensors);

  at::Tensor Attended(std::size_t layer, const at::Tensor& attended, const LayerAttention& at) const override;

 private:
  struct Layer {
    /// Shapes: [l, C]; [1]. Undefined where nothing is attached.
    at::Tensor vectors, gate;
  };
  std::vector<Layer> layers_;
};

}  // namespace fedpeft
