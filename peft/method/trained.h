// Trained: a trained tensor as a method applies it to the rows of a batch. Ordinarily that is the tensor itself. For
// the gradients of single examples it is a leaf with a copy for each example, [B, …], all copies being the same memory:
// the gradient that autograd finds for copy b is that of example b, from one pass of all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>

#include "peft/model/packed_batch.h"

namespace fedpeft {

/// Whose the rows of a batch are. Each is int64 [k, 3]: the first of some rows, how many, and their example.
struct ExampleRows {
  /// Of all tokens; of one row a sequence, in packed order; of the same in the caller's order.
  at::Tensor tokens, sequences, callers;
  /// How many tokens, and how many examples.
  std::int64_t rows = 0, examples = 0;

  /// `owners[i]` is the example of the caller's i-th sequence: 0 for the first one, then the same or the next. Pre: as
  /// many owners as sequences.
  static ExampleRows Of(const PackedBatch& batch, std::span<const std::int64_t> owners);
  /// For what sees one row a sequence, in the caller's order: a head.
  ExampleRows OfHead() const { return {callers, callers, callers, callers.size(0), examples}; }
  /// Pre: `count` is how many tokens there are, or how many sequences.
  const at::Tensor& For(std::int64_t count) const;
};

class Trained {
 public:
  /// Undefined: there is no such tensor.
  Trained() = default;
  Trained(at::Tensor value) : value_(std::move(value)) {}  // NOLINT: a tensor is one
  /// Shapes: [B, …]. Pre: B examples own `rows`.
  Trained(at::Tensor copies, std::shared_ptr<const ExampleRows> rows)
      : value_(std::move(copies)), rows_(std::move(rows)) {}

  bool defined() const { return value_.defined(); }
  bool per_example() const { return rows_ != nullptr; }
  at::ScalarType scalar_type() const { return value_.scalar_type(); }
  /// Of the tensor's own shape; of copies without a gradient.
  at::Tensor value() const;
  /// As a vector.
  Trained Flat() const { return {value_.flatten(per_example() ? 1 : 0), rows_}; }
  /// Columns [begin, begin + width) of a matrix.
  Trained Columns(std::int64_t begin, std::int64_t width) const { return {value_.narrow(-1, begin, width), rows_}; }

  /// As what the rows x [n, …] can be multiplied with, or be added to: itself, or [n, …] with each row's copy.
  at::Tensor OfRows(const at::Tensor& x) const;
  /// Itself, or [S, …] with the copy of each sequence in packed order.
  at::Tensor OfSequences() const;
  /// x·Wᵀ. Shapes: x [n, in], this [out, in] → [n, out].
  at::Tensor Linear(const at::Tensor& x) const;
  /// y + x·Wᵀ.
  at::Tensor AddLinear(const at::Tensor& y, const at::Tensor& x) const;

 private:
  at::Tensor value_;
  std::shared_ptr<const ExampleRows> rows_;
};

/// x·Wᵀ + b; b may be undefined.
at::Tensor TrainedLinear(const at::Tensor& x, const Trained& weight, const Trained& bias);

}  // namespace fedpeft
