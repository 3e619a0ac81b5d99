// Multi-head self-attention over a packed batch: every token attends to tokens of its own sequence alone.
#pragma once

#include <ATen/core/Tensor.h>

#include "peft/kernels/attention.h"
#include "peft/model/layers.h"
#include "peft/model/packed_batch.h"

namespace fedpeft {

/// Keys and values of T tokens. Shapes: [T, Hkv·D] each; as a prefix also [S, T, Hkv·D], for each sequence of a batch,
/// in packed order, its own; undefined: none.
struct KeyValues {
  at::Tensor keys, values;
};

/// softmax(scale · q·kᵀ)·v for each head and sequence; `prefix` stands before the tokens of each. Shapes: q and the
/// result [N, H·D], k, v [N, Hkv·D].
at::Tensor PackedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const KeyValues& prefix,
                           const PackedBatch& batch, const AttentionSpec& spec, const ForwardMode& mode);

/// The same for one query a sequence: that of its last token when `causal`, else of any. Shapes: q and the result
/// [B, H·D] in packed order (PackedBatch::rank); k, v [N, Hkv·D].
at::Tensor PooledAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const KeyValues& prefix,
                           const PackedBatch& batch, const AttentionSpec& spec, const ForwardMode& mode);

/// The same for a sequence that goes on: its n last tokens look at the keys and values of T tokens, the n last of which
/// are they. Rows that none of them sees may be left out at the front. Shapes: q and the result [n, H·D]; k, v
/// [T, Hkv·D]. Pre: `causal`.
at::Tensor ContinuedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionSpec& spec);

/// Each of n queries looks at all of T keys, whatever comes before what. Shapes: as ContinuedAttention's.
at::Tensor OpenAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionSpec& spec);

}  // namespace fedpeft
