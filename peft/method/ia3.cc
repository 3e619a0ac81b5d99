#include "peft/method/ia3.h"

#include <torch/torch.h>

#include <map>
#include <string>

namespace fedpeft {

using torch::Tensor;

Ia3Hook::Ia3Hook(const Ia3Config& ia3, const BaseShape& base, const NamedTensors& tensors) {
  std::map<std::string, bool> scales_input;
  const std::vector<Ia3Site> adapted = Ia3Sites(base, ia3).value();
  for (const Ia3Site& one : adapted) scales_input[one.site.path] = one.scales_input;
  for (const Site& site : LinearSites(base)) {
    const auto found = scales_input.find(site.path);
    factors_.push_back(found == scales_input.end() ? Factors{}
                                                   : Factors{tensors.Find(site.path, "ia3_l").Flat(), found->second});
  }
}

Tensor Ia3Hook::Linear(std::size_t site, const Tensor& x, const FrozenLinear& base, const ForwardMode&) const {
  const Factors& factors = factors_[site];
  if (!factors.values.defined()) return base(x);
  // In float32, and rounded then: a factor near 1 is none in bfloat16.
  if (factors.scales_input) return base((x * factors.values.OfRows(x)).to(x.scalar_type()));
  const Tensor y = base(x);
  return (y * factors.values.OfRows(y)).to(x.scalar_type());
}

}  // namespace fedpeft
