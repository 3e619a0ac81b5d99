#include "peft/method/bottleneck.h"

namespace fedpeft {

using torch::Tensor;

BottleneckHook::BottleneckHook(const BottleneckConfig& adapter, const BaseShape& base, const NamedTensors& tensors)
    : config_(adapter) {
  const BaseSites sites = SitesOf(base);
  for (const SublayerSite& site : sites.sublayers) {
    adapters_.push_back({tensors.Find(site.path, "adapter_down.weight"), tensors.Find(site.path, "adapter_down.bias"),
                         tensors.Find(site.path, "adapter_up.weight"), tensors.Find(site.path, "adapter_up.bias")});
  }
}

Tensor BottleneckHook::InputOf(const Tensor& out, const Joint& joint) const {
  switch (config_.kind) {
    case BottleneckConfig::Kind::kHoulsby:
      return out;
    case BottleneckConfig::Kind::kPfeiffer:
      return joint.norm != nullptr ? (*joint.norm)(out + joint.stream) : out + joint.stream;
    case BottleneckConfig::Kind::kParallel:
      return joint.stream;
  }
  FEDPEFT_CHECK(false);
}

Tensor BottleneckHook::Sublayer(std::size_t site, const Tensor& out, const Joint& joint) const {
  const Adapter& adapter = adapters_[site];
  if (!adapter.down.defined()) return out;
  const Tensor x = InputOf(out, joint).to(adapter.down.scalar_type());
  const Tensor narrow = Activate(config_.activation, torch::linear(x, adapter.down, adapter.down_bias));
  const Tensor wide = torch::linear(narrow, adapter.up, adapter.up_bias) * config_.scale;
  return out + wide.to(out.scalar_type());
}

}  // namespace fedpeft
