// PackedBatch: token sequences of different lengths as one list of N rows without padding. Linears, norms and
// activations run over the rows; only attention needs to know where a sequence begins.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "peft/core/status.h"
#include "peft/plan/method.h"

namespace fedpeft {

/// One tokenised text; borrows. Empty `type_ids` mean zeros.
struct TokenSequence {
  std::span<const std::int32_t> ids;
  std::span<const std::int32_t> type_ids;
};

/// What a base can take.
struct SequenceLimits {
  std::int64_t vocab = 0;
  std::int64_t types = 0;
  std::int64_t length = 0;
};

/// Where a batch enters a base whose lower layers are known to have made something of it.
struct Entry {
  std::size_t layer = 0;
  /// What enters the layer, [N, C] in packed order; for Pool at the number of layers what it returns, [B, C].
  at::Tensor rows;
};

struct PackedBatch {
  /// In front of every sequence: `lead.prompt` rows each, of `lead.ids` or else of id 0, which the method fills;
  /// positions count from `lead.prefix`.
  Lead lead;
  /// Each int64 [N].
  at::Tensor ids;
  at::Tensor type_ids;
  at::Tensor positions;
  /// int64 [B]: the rows of each sequence's first and last token, in packed order (ascending length).
  at::Tensor first_rows;
  at::Tensor last_rows;
  /// int64 [B]: where the caller's i-th sequence is in packed order.
  at::Tensor rank;
  /// Rows of each sequence, in packed order.
  std::vector<std::int64_t> lengths;
  /// None: at the bottom, with its ids.
  std::optional<Entry> entry = {};
};

/// Pre: at least one sequence. Errors: kInvalidArgument for an empty sequence, one that is too long behind its lead,
/// type_ids of another length, or an id (the lead's too) outside of the base's tables.
Result<PackedBatch> Pack(std::span<const TokenSequence> sequences, const SequenceLimits& limits, const Lead& lead = {});

/// Tokens of one sequence that follow `before` others, the lead counted; none: they are the first, behind the lead.
/// Errors: Pack's; the length that is left is the limit less `before`.
Result<PackedBatch> PackNext(std::span<const std::int32_t> ids, std::int64_t before, const SequenceLimits& limits,
                             const Lead& lead = {});

}  // namespace fedpeft
