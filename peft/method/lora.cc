#include "peft/method/lora.h"

#include <map>
#include <string>

namespace fedpeft {

LoraHook::LoraHook(const PeftPlan& plan, const ParamLayout& layout, const std::vector<torch::Tensor>& tensors) {
  std::map<std::string, Branch> by_path;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorSpec& spec = layout.tensors()[i];
    if (spec.role == Role::kLoraA) by_path[spec.site].a = tensors[i];
    if (spec.role == Role::kLoraB) by_path[spec.site].b = tensors[i];
  }
  for (const Site& site : LinearSites(plan.base)) {
    branches_.push_back(by_path[site.path]);
    branches_.back().scale = plan.lora.scaling();
  }
}

torch::Tensor LoraHook::Linear(std::size_t site, const torch::Tensor& x, const FrozenLinear& base,
                               const ForwardMode& mode) const {
  const torch::Tensor y = base(x);
  const Branch& branch = branches_[site];
  if (!branch.a.defined()) return y;
  const torch::Tensor input = Dropout(x.to(branch.a.scalar_type()), mode.branch_dropout, mode.generator);
  // The scale goes to the narrow [n, rank] side.
  const torch::Tensor narrow = torch::mm(input, branch.a.t()) * branch.scale;
  if (y.scalar_type() == narrow.scalar_type()) return torch::addmm(y, narrow, branch.b.t());
  return y + torch::mm(narrow, branch.b.t()).to(y.scalar_type());
}

}  // namespace fedpeft
