#include "peft/method/phm.h"

#include <torch/torch.h>

namespace fedpeft {

using torch::Tensor;

Tensor PhmLinear(const Tensor& x, const Tensor& rule, const Tensor& left, const Tensor& right, const Tensor& bias) {
  const std::int64_t n = left.size(0), rank = left.size(2), narrow = n * rank;
  const Tensor parts = x.reshape({-1, left.size(1)}).mm(left.permute({1, 0, 2}).reshape({-1, narrow}));
  const Tensor mixed = torch::einsum("Npir,ipq->Nqir", {parts.view({-1, n, n, rank}), rule});
  const Tensor wide = mixed.reshape({-1, narrow}).mm(right.reshape({narrow, -1}));
  return wide.view({-1, n * right.size(2)}) + bias;
}

}  // namespace fedpeft
