#include "peft/method/llama_adapter.h"

#include <torch/torch.h>

namespace fedpeft {

using torch::Tensor;

LlamaAdapterHook::LlamaAdapterHook(const BaseShape& base, const NamedTensors& tensors) {
  const BaseSites sites = SitesOf(base);
  for (const AttentionSite& site : sites.attentions) {
    Layer layer{tensors.Find(site.path, "adaption_prompt").value(), tensors.Find(site.path, "adaption_gate").value()};
    if (layer.vectors.defined()) layer.vectors = layer.vectors.squeeze(0);
    layers_.push_back(std::move(layer));
  }
}

Tensor LlamaAdapterHook::Attended(std::size_t layer, const Tensor& attended, const LayerAttention& at) const {
  const Layer& adapter = layers_[layer];
  if (!adapter.vectors.defined()) return attended;
  const KeyValues projected = at.project(adapter.vectors.to(attended.scalar_type()));
  const Tensor found = OpenAttention(at.queries, projected.keys, projected.values, at.spec);
  return (attended + adapter.gate * found).to(attended.scalar_type());
}

}  // namespace fedpeft
