#include "peft/method/sparse.h"

#include <torch/torch.h>

#include <map>

namespace fedpeft {

using torch::Tensor;

SparseHook::SparseHook(const SparseConfig& sparse, const BaseShape& base, const NamedTensors& tensors) {
  std::map<std::string, Elements> by_path;
  const std::vector<SparseSite> sites = SparseSites(base, sparse).value();
  for (const SparseSite& one : sites) {
    by_path[one.site.path] = {torch::tensor(SparseMask(one, sparse.seed), torch::kInt64),
                              tensors.Find(one.site.path, "sparse_values").value()};
  }
  for (const Site& site : LinearSites(base)) elements_.push_back(by_path[site.path]);
}

Tensor SparseHook::Linear(std::size_t site, const Tensor& x, const FrozenLinear& base, const ForwardMode&) const {
  const Elements& elements = elements_[site];
  if (!elements.values.defined()) return base(x);
  const Tensor weight = base.weight.flatten().index_add(0, elements.at, elements.values.to(base.weight.scalar_type()));
  return FrozenLinear{weight.view(base.weight.sizes()), base.bias}(x);
}

}  // namespace fedpeft
