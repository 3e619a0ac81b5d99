// Multi-head self-attention over a packed batch: every token attends to the tokens of its own sequence.
#pragma once

#include <torch/torch.h>

#include "peft/model/layers.h"
#include "peft/model/packed_batch.h"

namespace fedpeft {

/// softmax(q·kᵀ / √D)·v for each head and sequence. Shapes: q, k, v and the result [N, H·D].
torch::Tensor PackedAttention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                              const PackedBatch& batch, std::int64_t heads, const ForwardMode& mode);

/// The same for the queries of the sequences' first tokens only. Shapes: q and the result [B, H·D] in packed order
/// (PackedBatch::rank); k, v [N, H·D].
torch::Tensor FirstTokenAttention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                  const PackedBatch& batch, std::int64_t heads, const ForwardMode& mode);

}  // namespace fedpeft
