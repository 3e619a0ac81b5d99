#include "peft/method/offsets.h"

#include <torch/torch.h>

namespace fedpeft {

namespace {

using torch::Tensor;

Tensor Sum(const Tensor& base, const Tensor& offset) {
  return offset.defined() ? base + offset.to(base.scalar_type()) : base;
}

}  // namespace

OffsetHook::OffsetHook(const BaseShape& base, const NamedTensors& tensors) {
  const BaseSites sites = SitesOf(base);
  for (const TableSite& table : sites.tables) tables_.push_back(tensors.Find(table.path, "weight").value());
  for (const Site& site : sites.linears) {
    Offset offset{tensors.Find(site.path, "weight"), tensors.Find(site.path, "bias")};
    if (site.transposed && offset.weight.defined()) offset.weight = offset.weight.value().t();
    linears_.push_back(std::move(offset));
  }
  for (const NormSite& norm : sites.norms) {
    norms_.push_back({tensors.Find(norm.path, "weight"), tensors.Find(norm.path, "bias")});
  }
  if (sites.language_head) language_head_ = tensors.Find(sites.language_head->path, "weight").value();
  trains_language_head_ = sites.language_head ? language_head_.defined() : tables_.front().defined();
}

Tensor OffsetHook::Table(std::size_t site, const Tensor& base) const {
  return Sum(base, tables_[site]);
}

Tensor OffsetHook::LanguageHead(const Tensor& base) const {
  return Sum(base, language_head_);
}

Tensor OffsetHook::Norm(std::size_t site, const Tensor& x, const FrozenNorm& base) const {
  const Offset& offset = norms_[site];
  if (offset.weight.per_example() || offset.bias.per_example()) return NormOfExamples(offset, x, base);
  return FrozenNorm{Sum(base.weight, offset.weight.value()),
                    base.bias.defined() ? Sum(base.bias, offset.bias.value()) : Tensor(), base.epsilon}(x);
}

Tensor OffsetHook::NormOfExamples(const Offset& offset, const Tensor& x, const FrozenNorm& base) {
  const Tensor weight = offset.weight.defined() ? Sum(base.weight, offset.weight.OfRows(x)) : base.weight;
  const Tensor y = weight * base.Unit(x);
  if (!base.bias.defined()) return y;
  return y + (offset.bias.defined() ? Sum(base.bias, offset.bias.OfRows(x)) : base.bias);
}

Tensor OffsetHook::Linear(std::size_t site, const Tensor& x, const FrozenLinear& base, const ForwardMode&) const {
  const Offset& offset = linears_[site];
  if (offset.bias.per_example()) {
    const Tensor y = base(x);
    return base.bias.defined() ? Sum(y, offset.bias.OfRows(y)) : y;
  }
  FrozenLinear sum = base;
  if (offset.weight.defined()) sum = {Sum(base.weight, offset.weight.value()), base.bias};
  if (base.bias.defined()) sum.bias = Sum(base.bias, offset.bias.value());
  return sum(x);
}

}  // namespace fedpeft
