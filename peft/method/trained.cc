#include "peft/method/trained.h"

#include <torch/torch.h>

#include <vector>

#include "peft/core/check.h"

namespace fedpeft {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// The one value of all copies.
Tensor First(const Tensor& copies) {
  return copies.detach().select(0, 0);
}

/// Calls use(first row, number of rows, example).
template <typename Use>
void ForEachSegment(const Tensor& segments, Use use) {
  const auto* at = segments.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < segments.size(0); ++i, at += 3) use(at[0], at[1], at[2]);
}

Tensor ZeroCopies(std::int64_t examples, const Tensor& of_one, const Tensor& like) {
  std::vector<std::int64_t> shape = of_one.sizes().vec();
  shape.insert(shape.begin(), examples);
  return torch::zeros(shape, like.options());
}

/// Copies [B, …] → [n, …]. A copy's gradient is the sum of its rows'.
struct SpreadCopies : torch::autograd::Function<SpreadCopies> {
  static Tensor forward(AutogradContext* context, const Tensor& copies, const Tensor& segments, std::int64_t rows) {
    context->save_for_backward({segments});
    context->saved_data["examples"] = copies.size(0);
    std::vector<std::int64_t> shape = copies.sizes().vec();
    shape[0] = rows;
    return First(copies).unsqueeze(0).expand(shape);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const Tensor& grad = grads[0];
    Tensor sums = ZeroCopies(context->saved_data["examples"].toInt(), grad.select(0, 0), grad);
    ForEachSegment(context->get_saved_variables()[0], [&](std::int64_t first, std::int64_t rows, std::int64_t example) {
      sums.select(0, example).add_(grad.narrow(0, first, rows).sum(0));
    });
    return {sums, Tensor(), Tensor()};
  }
};

/// x [n, in] and copies [B, out, in] → x·Wᵀ. A copy's gradient is the product of its rows of x and of what comes back.
struct LinearOfCopies : torch::autograd::Function<LinearOfCopies> {
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& copies, const Tensor& segments) {
    context->save_for_backward({x, copies, segments});
    return x.mm(First(copies).t());
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &copies = saved[1], &grad = grads[0];
    Tensor products = ZeroCopies(copies.size(0), copies.select(0, 0), grad);
    ForEachSegment(saved[2], [&](std::int64_t first, std::int64_t rows, std::int64_t example) {
      products.select(0, example).addmm_(grad.narrow(0, first, rows).t(), x.narrow(0, first, rows));
    });
    return {context->needs_input_grad(0) ? grad.mm(First(copies)) : Tensor(), products, Tensor()};
  }
};

Tensor ToSegments(const std::vector<std::int64_t>& numbers) {
  return torch::tensor(at::ArrayRef<std::int64_t>(numbers), torch::kInt64).view({-1, 3});
}

}  // namespace

ExampleRows ExampleRows::Of(const PackedBatch& batch, std::span<const std::int64_t> owners) {
  FEDPEFT_CHECK(batch.rank.numel() == static_cast<std::int64_t>(owners.size()));
  const auto* rank = batch.rank.const_data_ptr<std::int64_t>();
  const auto* first = batch.first_rows.const_data_ptr<std::int64_t>();
  const auto* last = batch.last_rows.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> tokens, sequences, callers;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const std::int64_t at = rank[i], owner = owners[i];
    tokens.insert(tokens.end(), {first[at], last[at] - first[at] + 1, owner});
    sequences.insert(sequences.end(), {at, 1, owner});
    callers.insert(callers.end(), {static_cast<std::int64_t>(i), 1, owner});
  }
  return {ToSegments(tokens), ToSegments(sequences), ToSegments(callers), batch.ids.size(0), owners.back() + 1};
}

const Tensor& ExampleRows::For(std::int64_t count) const {
  if (count == rows) return tokens;
  FEDPEFT_CHECK(count == sequences.size(0));
  return sequences;
}

Tensor Trained::value() const {
  return per_example() ? First(value_) : value_;
}

Tensor Trained::OfRows(const Tensor& x) const {
  if (!per_example()) return value_;
  const std::int64_t rows = x.size(0);
  Tensor spread = SpreadCopies::apply(value_, rows_->For(rows), rows);
  while (spread.dim() < x.dim()) spread = spread.unsqueeze(1);
  return spread;
}

Tensor Trained::OfSequences() const {
  if (!per_example()) return value_;
  return SpreadCopies::apply(value_, rows_->sequences, rows_->sequences.size(0));
}

Tensor Trained::Linear(const Tensor& x) const {
  if (!per_example()) return torch::mm(x, value_.t());
  return LinearOfCopies::apply(x, value_, rows_->For(x.size(0)));
}

Tensor Trained::AddLinear(const Tensor& y, const Tensor& x) const {
  return per_example() ? y + Linear(x) : torch::addmm(y, x, value_.t());
}

Tensor TrainedLinear(const Tensor& x, const Trained& weight, const Trained& bias) {
  if (!weight.per_example() && !bias.per_example()) return torch::linear(x, weight.value(), bias.value());
  const Tensor y = weight.Linear(x);
  return bias.defined() ? y + bias.OfRows(y) : y;
}

}  // namespace fedpeft
