#include "peft/model/attention.h"

#include <cmath>

namespace fedpeft {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Rows [n, C] → places [B·T, C]. Padding copies row 0 and receives no gradient: it is masked as a key, and dropped as
/// a query. A gather both ways, where index_select's own backward would add up row by row.
struct PadRows : torch::autograd::Function<PadRows> {
  static Tensor forward(AutogradContext* context, const Tensor& rows, const Tensor& row_of_place,
                        const Tensor& place_of_row) {
    context->save_for_backward({place_of_row});
    return rows.index_select(0, row_of_place);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    return {grads[0].index_select(0, context->get_saved_variables()[0]), Tensor(), Tensor()};
  }
};

/// Places [B·T, C] → rows [n, C].
struct DropPadding : torch::autograd::Function<DropPadding> {
  static Tensor forward(AutogradContext* context, const Tensor& places, const Tensor& place_of_row) {
    context->save_for_backward({place_of_row});
    context->saved_data["places"] = places.size(0);
    return places.index_select(0, place_of_row);
  }
  static tensor_list backward(AutogradContext* context, tensor_list grads) {
    const Tensor grad = torch::zeros({context->saved_data["places"].toInt(), grads[0].size(1)}, grads[0].options());
    return {grad.index_copy(0, context->get_saved_variables()[0], grads[0]), Tensor()};
  }
};

/// [rows, H·D] of a group → [B, H, T, D].
Tensor Heads(const Tensor& rows, const AttentionGroup& group, std::int64_t heads) {
  const Tensor padded = group.mask.defined() ? PadRows::apply(rows, group.row_of_place, group.place_of_row) : rows;
  return padded.view({group.sequences, group.length, heads, -1}).transpose(1, 2);
}

/// Shapes: q [B, H, Tq, D], k, v [B, H, T, D]; result as q. LibTorch's fused kernel, except that its dropout would draw
/// from the process-wide generator.
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const ForwardMode& mode) {
  const Tensor bias = mask.defined() ? mask.to(q.scalar_type()) : Tensor();
  if (mode.base_dropout == 0) {
    return at::scaled_dot_product_attention(q, k, v, bias.defined() ? std::optional<Tensor>(bias) : std::nullopt);
  }
  Tensor scores = q.matmul(k.transpose(2, 3)) / std::sqrt(static_cast<double>(q.size(3)));
  if (bias.defined()) scores = scores + bias;
  return Dropout(scores.softmax(-1), mode.base_dropout, mode.generator).matmul(v);
}

/// [B, H, T, D] → [B·T, H·D].
Tensor Rows(const Tensor& heads) {
  return heads.transpose(1, 2).reshape({heads.size(0) * heads.size(2), heads.size(1) * heads.size(3)});
}

/// The rows of each group. One split, whose backward is one concatenation.
std::vector<Tensor> ByGroup(const Tensor& rows, const PackedBatch& batch) {
  if (batch.groups.size() == 1) return {rows};
  std::vector<std::int64_t> sizes;
  for (const AttentionGroup& group : batch.groups) sizes.push_back(group.rows);
  return rows.split_with_sizes(sizes);
}

Tensor Join(std::vector<Tensor> parts) {
  return parts.size() == 1 ? std::move(parts[0]) : torch::cat(parts);
}

}  // namespace

Tensor PackedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const PackedBatch& batch, std::int64_t heads,
                       const ForwardMode& mode) {
  const std::vector<Tensor> qs = ByGroup(q, batch), ks = ByGroup(k, batch), vs = ByGroup(v, batch);
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i < batch.groups.size(); ++i) {
    const AttentionGroup& group = batch.groups[i];
    const Tensor places = Rows(
        Attend(Heads(qs[i], group, heads), Heads(ks[i], group, heads), Heads(vs[i], group, heads), group.mask, mode));
    parts.push_back(group.mask.defined() ? DropPadding::apply(places, group.place_of_row) : places);
  }
  return Join(std::move(parts));
}

Tensor FirstTokenAttention(const Tensor& q, const Tensor& k, const Tensor& v, const PackedBatch& batch,
                           std::int64_t heads, const ForwardMode& mode) {
  const std::vector<Tensor> ks = ByGroup(k, batch), vs = ByGroup(v, batch);
  std::vector<Tensor> parts;
  std::int64_t sequence = 0;
  for (std::size_t i = 0; i < batch.groups.size(); ++i) {
    const AttentionGroup& group = batch.groups[i];
    const Tensor query = q.narrow(0, sequence, group.sequences).view({group.sequences, 1, heads, -1}).transpose(1, 2);
    parts.push_back(Rows(Attend(query, Heads(ks[i], group, heads), Heads(vs[i], group, heads), group.mask, mode)));
    sequence += group.sequences;
  }
  return Join(std::move(parts));
}

}  // namespace fedpeft
