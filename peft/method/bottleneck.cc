#include "peft/method/bottleneck.h"

#include <torch/torch.h>

#include "peft/method/phm.h"

namespace fedpeft {

using torch::Tensor;

BottleneckHook::BottleneckHook(const BottleneckConfig& adapter, const BaseShape& base, const NamedTensors& tensors)
    : config_(adapter), phm_rule_(tensors.Find("shared_parameters", "phm_rule")) {
  const auto find = [&](const std::string& path, const std::string& name) {
    if (!phm_rule_.defined()) {
      return Linear{tensors.Find(path, name + ".weight"), {}, {}, tensors.Find(path, name + ".bias")};
    }
    return Linear{{},
                  tensors.Find(path, name + ".W_left"),
                  tensors.Find(path, name + ".W_right"),
                  tensors.Find(path, name + ".b")};
  };
  const BaseSites sites = SitesOf(base);
  for (const SublayerSite& site : sites.sublayers) {
    adapters_.push_back({find(site.path, "adapter_down"), find(site.path, "adapter_up")});
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

Tensor BottleneckHook::Apply(const Linear& linear, const Tensor& x) const {
  if (linear.weight.defined()) return TrainedLinear(x, linear.weight, linear.bias);
  return PhmLinear(x, phm_rule_.value(), linear.left.value(), linear.right.value(), linear.bias.value());
}

Tensor BottleneckHook::Sublayer(std::size_t site, const Tensor& out, const Joint& joint) const {
  const Adapter& adapter = adapters_[site];
  if (!adapter.down.bias.defined()) return out;
  const Tensor x = InputOf(out, joint).to(adapter.down.bias.scalar_type());
  const Tensor narrow = Activate(config_.activation, Apply(adapter.down, x));
  const Tensor wide = Apply(adapter.up, narrow) * config_.scale;
  return out + wide.to(out.scalar_type());
}

}  // namespace fedpeft
