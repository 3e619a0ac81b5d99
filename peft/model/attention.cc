#include "peft/model/attention.h"

#include <torch/torch.h>

#include <limits>

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

/// [rows, heads·D] of a group → [B, heads, T, D].
Tensor Heads(const Tensor& rows, const AttentionGroup& group, std::int64_t heads) {
  const Tensor padded = group.mask.defined() ? PadRows::apply(rows, group.row_of_place, group.place_of_row) : rows;
  return padded.view({group.sequences, group.length, heads, -1}).transpose(1, 2);
}

/// The part of a prefix that stands before a group's sequences, of which `first` is the first.
Tensor OfGroup(const Tensor& prefix, std::int64_t first, const AttentionGroup& group) {
  return prefix.defined() && prefix.dim() == 3 ? prefix.narrow(0, first, group.sequences) : prefix;
}

/// Keys or values of a group after those of the prefix, one head for each head of queries: [B, H, P + T, D].
Tensor SharedHeads(const Tensor& prefix, const Tensor& rows, const AttentionGroup& group, const AttentionSpec& spec) {
  Tensor heads = Heads(rows, group, spec.kv_heads);
  if (prefix.defined()) {
    const std::int64_t different = prefix.dim() == 3 ? prefix.size(0) : 1;
    const Tensor before = prefix.view({different, prefix.size(-2), spec.kv_heads, -1}).transpose(1, 2);
    heads = torch::cat({before.to(heads.scalar_type()).expand({group.sequences, -1, -1, -1}), heads}, /*dim=*/2);
  }
  return spec.kv_heads == spec.heads ? heads : heads.repeat_interleave(spec.heads / spec.kv_heads, /*dim=*/1);
}

/// [n, T] 0 where the n last of T tokens may see key s, else −∞: t − window < s ≤ t.
Tensor CausalMask(std::int64_t n, std::int64_t length, std::int64_t window, torch::ScalarType dtype) {
  const std::int64_t before = length - n;
  Tensor seen = torch::ones({n, length}, torch::kBool).tril(before);
  if (window > 0) seen = seen.triu(before + 1 - window);
  return torch::zeros({n, length}, dtype).masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity());
}

/// The group's mask of padding, nothing being masked of `before` keys in front: [B, 1, 1, before + T], or undefined.
Tensor PaddingMask(const AttentionGroup& group, std::int64_t before, torch::ScalarType dtype) {
  if (!group.mask.defined()) return {};
  return torch::constant_pad_nd(group.mask.to(dtype), {before, 0});
}

/// What to add to all scores of a group; undefined: nothing. Padding stands after the tokens, where no causal query of
/// a token looks. `plainly_causal` says that the fused kernel may do the masking itself.
Tensor GroupMask(const AttentionGroup& group, std::int64_t before, const AttentionSpec& spec, torch::ScalarType dtype,
                 bool plainly_causal) {
  if (plainly_causal) return {};
  if (spec.causal) return CausalMask(group.length, before + group.length, spec.window, dtype);
  return PaddingMask(group, before, dtype);
}

/// The same for the queries of the last tokens, [B, 1, 1, before + T]: of the keys only the last `window` are seen.
Tensor LastTokenMask(const AttentionGroup& group, std::int64_t before, const AttentionSpec& spec,
                     torch::ScalarType dtype) {
  const std::int64_t keys = before + group.length;
  Tensor mask = PaddingMask(group, before, dtype);
  if (spec.window == 0 || spec.window >= keys) return mask;
  if (!mask.defined()) mask = torch::zeros({group.sequences, 1, 1, keys}, dtype);
  const Tensor lengths = (mask == 0).sum(-1, /*keepdim=*/true);
  const Tensor too_far = torch::arange(keys) < lengths - spec.window;
  return mask.masked_fill(too_far, -std::numeric_limits<double>::infinity());
}

std::int64_t LengthOf(const KeyValues& prefix) {
  return prefix.keys.defined() ? prefix.keys.size(-2) : 0;
}

/// Shapes: q [B, H, Tq, D], k, v [B, H, T, D]; result as q. LibTorch's fused kernel, except that its dropout would draw
/// from the process-wide generator. `causal` goes without a mask.
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, bool causal, double scale,
              const ForwardMode& mode) {
  if (mode.base_dropout == 0) {
    return at::scaled_dot_product_attention(q, k, v, mask.defined() ? std::optional<Tensor>(mask) : std::nullopt,
                                            /*dropout_p=*/0, causal, scale);
  }
  Tensor scores = q.matmul(k.transpose(2, 3)) * scale;
  if (mask.defined()) scores = scores + mask;
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

/// n queries of one sequence over T keys. `mask` undefined, or [n, T]. Shapes: q and the result [n, H·D]; k, v
/// [T, Hkv·D].
Tensor AttendTo(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, const AttentionSpec& spec) {
  const std::int64_t n = q.size(0), length = k.size(0), shared = spec.heads / spec.kv_heads;
  // The queries that share a head of keys stand below each other, so that keys are not copied: [1, Hkv, n·shared, D].
  const Tensor queries = q.view({n, spec.kv_heads, shared, -1}).transpose(0, 1).flatten(1, 2).unsqueeze(0);
  const auto heads = [&](const Tensor& rows) {
    return rows.view({length, spec.kv_heads, -1}).transpose(0, 1).unsqueeze(0);
  };
  const Tensor all = mask.defined() ? mask.repeat_interleave(shared, /*dim=*/0) : mask;
  const Tensor attended = Attend(queries, heads(k), heads(v), all, /*causal=*/false, spec.scale, {});
  return attended.reshape({spec.kv_heads, n, shared, -1}).transpose(0, 1).reshape({n, q.size(1)});
}

}  // namespace

Tensor PackedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix,
                       const PackedBatch& batch, const AttentionSpec& spec, const ForwardMode& mode) {
  const std::int64_t before = LengthOf(prefix);
  const std::vector<Tensor> qs = ByGroup(q, batch), ks = ByGroup(k, batch), vs = ByGroup(v, batch);
  std::vector<Tensor> parts;
  std::int64_t sequence = 0;
  for (std::size_t i = 0; i < batch.groups.size(); ++i) {
    const AttentionGroup& group = batch.groups[i];
    const KeyValues own{OfGroup(prefix.keys, sequence, group), OfGroup(prefix.values, sequence, group)};
    const bool fused =
        spec.causal && before == 0 && (spec.window == 0 || spec.window >= group.length) && mode.base_dropout == 0;
    const Tensor places = Rows(Attend(Heads(qs[i], group, spec.heads), SharedHeads(own.keys, ks[i], group, spec),
                                      SharedHeads(own.values, vs[i], group, spec),
                                      GroupMask(group, before, spec, q.scalar_type(), fused), fused, spec.scale, mode));
    parts.push_back(group.mask.defined() ? DropPadding::apply(places, group.place_of_row) : places);
    sequence += group.sequences;
  }
  return Join(std::move(parts));
}

Tensor PooledAttention(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix,
                       const PackedBatch& batch, const AttentionSpec& spec, const ForwardMode& mode) {
  const std::int64_t before = LengthOf(prefix);
  const std::vector<Tensor> ks = ByGroup(k, batch), vs = ByGroup(v, batch);
  std::vector<Tensor> parts;
  std::int64_t sequence = 0;
  for (std::size_t i = 0; i < batch.groups.size(); ++i) {
    const AttentionGroup& group = batch.groups[i];
    const KeyValues own{OfGroup(prefix.keys, sequence, group), OfGroup(prefix.values, sequence, group)};
    const Tensor rows = q.narrow(0, sequence, group.sequences);
    const Tensor query = rows.view({group.sequences, 1, spec.heads, -1}).transpose(1, 2);
    parts.push_back(
        Rows(Attend(query, SharedHeads(own.keys, ks[i], group, spec), SharedHeads(own.values, vs[i], group, spec),
                    LastTokenMask(group, before, spec, q.scalar_type()), /*causal=*/false, spec.scale, mode)));
    sequence += group.sequences;
  }
  return Join(std::move(parts));
}

Tensor ContinuedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  const std::int64_t n = q.size(0), length = k.size(0);
  const bool sees_all = n == 1 && (spec.window == 0 || length <= spec.window);
  return AttendTo(q, k, v, sees_all ? Tensor() : CausalMask(n, length, spec.window, q.scalar_type()), spec);
}

Tensor OpenAttention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  return AttendTo(q, k, v, {}, spec);
}

}  // namespace fedpeft
