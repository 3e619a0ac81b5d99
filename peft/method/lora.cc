#include "peft/method/lora.h"

#include <torch/torch.h>

#include <map>
#include <string>

namespace fedpeft {

namespace {

using torch::Tensor;

/// ‖W‖ of each row, and ‖W + s·B·A‖ without making the sum: ‖w‖² + 2s·(W·Aᵀ)·b + s²·b·(A·Aᵀ)·b for the rows w and b.
struct RowNorms {
  Tensor base, adapted;
};

RowNorms NormsOf(const Tensor& weight, const LoraHook::Branch& branch) {
  const torch::NoGradGuard constant;
  const Tensor w = weight.to(torch::kFloat32);
  const Tensor squares = w.square().sum(1);
  const Tensor a = branch.a.value(), b = branch.b.value();
  const Tensor cross = (w.mm(a.t()) * b).sum(1);
  const Tensor own = (b.mm(a.mm(a.t())) * b).sum(1);
  const Tensor sum = squares + 2 * branch.scale * cross + branch.scale * branch.scale * own;
  return {squares.sqrt(), sum.clamp_min(0).sqrt()};
}

/// y = W·x + b + (f − 1)·W·x' + f·s·B·A·x', f = m / ‖W + s·B·A‖, x' = dropout(x): at the start f is 1, and y the
/// base's. Source: Liu et al. 2024, equation 5, the norm taken for a constant (their section 4.3); dropout as peft 0.21
/// has it.
Tensor Dora(const LoraHook::Branch& branch, const Tensor& x, const FrozenLinear& base, const ForwardMode& mode) {
  const RowNorms norms = NormsOf(base.weight, branch);
  const Tensor y = base(x);
  const Tensor factor = (norms.base + branch.magnitude.OfRows(y)) / norms.adapted;
  const Tensor input = Dropout(x, mode.branch_dropout, mode.generator);
  const bool same = mode.branch_dropout == 0;
  const Tensor plain = !same ? torch::linear(input, base.weight) : base.bias.defined() ? y - base.bias : y;
  const Tensor branched = branch.b.Linear(branch.a.Linear(input.to(torch::kFloat32)).mul(branch.scale));
  return y + ((factor - 1) * plain.to(torch::kFloat32) + factor * branched).to(y.scalar_type());
}

}  // namespace

LoraHook::LoraHook(const LoraConfig& lora, const BaseShape& base, const NamedTensors& tensors) {
  std::map<std::string, double> scales;
  const std::vector<LoraSite> adapted = LoraSites(base, lora).value();
  for (const LoraSite& one : adapted) scales[one.site.path] = one.scale;
  for (const Site& site : LinearSites(base)) {
    Branch branch;
    if (const auto found = scales.find(site.path); found != scales.end()) {
      branch = {tensors.Find(site.path, "lora_A.weight"),
                tensors.Find(site.path, "lora_B.weight"),
                found->second,
                tensors.Find(site.path, "lora_magnitude_vector"),
                {}};
    }
    branches_.push_back(std::move(branch));
  }
}

LoraHook::LoraHook(const AdaLoraConfig& adalora, const BaseShape& base, const NamedTensors& tensors) {
  const double scale = AdaLoraSites(base, adalora).value().front().scale;
  for (const Site& site : LinearSites(base)) {
    const Trained e = tensors.Find(site.path, "lora_E");
    branches_.push_back(
        {tensors.Find(site.path, "lora_A"), tensors.Find(site.path, "lora_B"), scale, {}, e.defined() ? e.Flat() : e});
  }
}

Tensor OrthogonalityLoss(const PeftPlan& plan, const ParamLayout& layout, const std::vector<Tensor>& tensors) {
  const auto* adalora = std::get_if<AdaLoraConfig>(&plan.method);
  if (adalora == nullptr || adalora->orthogonality == 0) return {};
  std::vector<Tensor> norms;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Role role = layout.tensors()[i].role;
    if (role != Role::kLoraA && role != Role::kLoraB) continue;
    const Tensor& p = tensors[i];
    const Tensor products = role == Role::kLoraA ? p.mm(p.t()) : p.t().mm(p);
    norms.push_back((products - torch::eye(products.size(0))).norm());
  }
  return torch::stack(norms).mean() * adalora->orthogonality;
}

Tensor LoraHook::Linear(std::size_t site, const Tensor& x, const FrozenLinear& base, const ForwardMode& mode) const {
  const Branch& branch = branches_[site];
  if (branch.magnitude.defined()) return Dora(branch, x, base, mode);
  const Tensor y = base(x);
  if (!branch.a.defined()) return y;
  const Tensor input = Dropout(x.to(branch.a.scalar_type()), mode.branch_dropout, mode.generator);
  // The scale goes to the narrow [n, rank] side.
  Tensor narrow = branch.a.Linear(input) * branch.scale;
  if (branch.e.defined()) narrow = narrow * branch.e.OfRows(narrow);
  if (y.scalar_type() == narrow.scalar_type()) return branch.b.AddLinear(y, narrow);
  return y + branch.b.Linear(narrow).to(y.scalar_type());
}

}  // namespace fedpeft
