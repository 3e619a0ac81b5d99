// Parts of the base that are trained themselves: the parameter is the base's plus a trained offset.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "peft/method/named_tensors.h"
#include "peft/model/base_model.h"

namespace fedpeft {

class OffsetHook final : public SiteHook {
 public:
  /// Pre: `tensors` have the names of the base's parameters (PeftName), and the shapes that its folder has.
  OffsetHook(const BaseShape& base, const NamedTensors& tensors);

  at::Tensor Table(std::size_t site, const at::Tensor& base) const override;
  at::Tensor LanguageHead(const at::Tensor& base) const override;
  bool trains_language_head() const override { return trains_language_head_; }
  at::Tensor Norm(std::size_t site, const at::Tensor& x, const FrozenNorm& base) const override;
  at::Tensor Linear(std::size_t site, const at::Tensor& x, const FrozenLinear& base,
                    const ForwardMode& mode) const override;

 private:
  /// Undefined where nothing is trained; a linear's weight is [out, in].
  struct Offset {
    Trained weight, bias;
  };
  /// For gradients of single examples.
  static at::Tensor NormOfExamples(const Offset& offset, const at::Tensor& x, const FrozenNorm& base);

  std::vector<at::Tensor> tables_;
  std::vector<Offset> linears_, norms_;
  at::Tensor language_head_;
  bool trains_language_head_ = false;
};

}  // namespace fedpeft
