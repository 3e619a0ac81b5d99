#include "peft/model/packed_batch.h"

#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

namespace fedpeft {

namespace {

using Index = std::vector<std::int64_t>;

Status CheckIds(std::span<const std::int32_t> ids, std::int64_t bound, const char* what) {
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= bound) {
      return InvalidArgument(std::string(what) + ": got " + std::to_string(id) + ", want 0 to " +
                             std::to_string(bound - 1) + " (the tokenizer belongs to another base)");
    }
  }
  return OkStatus();
}

Status Check(const TokenSequence& sequence, const SequenceLimits& limits, const Lead& lead) {
  const auto length = static_cast<std::int64_t>(sequence.ids.size());
  const std::int64_t longest = limits.length - lead.positions();
  if (length < 1 || length > longest) {
    return InvalidArgument("sequence: has " + std::to_string(length) + " tokens, want 1 to " + std::to_string(longest));
  }
  if (!sequence.type_ids.empty() && sequence.type_ids.size() != sequence.ids.size()) {
    return InvalidArgument("sequence: has " + std::to_string(sequence.type_ids.size()) + " type ids for " +
                           std::to_string(length) + " tokens");
  }
  RETURN_IF_ERROR(CheckIds(sequence.ids, limits.vocab, "token id"));
  return CheckIds(sequence.type_ids, limits.types, "token type id");
}

torch::Tensor ToTensor(const Index& values) {
  return torch::tensor(at::ArrayRef<std::int64_t>(values), torch::kInt64);
}

}  // namespace

Result<PackedBatch> Pack(std::span<const TokenSequence> sequences, const SequenceLimits& limits, const Lead& lead) {
  FEDPEFT_CHECK(!sequences.empty());
  for (const TokenSequence& sequence : sequences) RETURN_IF_ERROR(Check(sequence, limits, lead));
  RETURN_IF_ERROR(CheckIds(lead.ids, limits.vocab, "token id of the prompt"));
  Index prompt(lead.ids.begin(), lead.ids.end());
  if (prompt.empty()) prompt.resize(static_cast<std::size_t>(lead.prompt), 0);
  FEDPEFT_CHECK(static_cast<std::int64_t>(prompt.size()) == lead.prompt);
  Index order(sequences.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return sequences[static_cast<std::size_t>(a)].ids.size() < sequences[static_cast<std::size_t>(b)].ids.size();
  });

  Index ids, type_ids, positions, lengths, first_rows, last_rows, rank(sequences.size());
  for (const std::int64_t index : order) {
    const TokenSequence& sequence = sequences[static_cast<std::size_t>(index)];
    rank[static_cast<std::size_t>(index)] = static_cast<std::int64_t>(lengths.size());
    first_rows.push_back(static_cast<std::int64_t>(ids.size()));
    lengths.push_back(lead.prompt + static_cast<std::int64_t>(sequence.ids.size()));
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    type_ids.resize(ids.size(), 0);
    ids.insert(ids.end(), sequence.ids.begin(), sequence.ids.end());
    last_rows.push_back(static_cast<std::int64_t>(ids.size()) - 1);
    type_ids.insert(type_ids.end(), sequence.type_ids.begin(), sequence.type_ids.end());
    type_ids.resize(ids.size(), 0);
    for (std::int64_t t = 0; t < lengths.back(); ++t) positions.push_back(lead.prefix + t);
  }
  return PackedBatch{lead,
                     ToTensor(ids),
                     ToTensor(type_ids),
                     ToTensor(positions),
                     ToTensor(first_rows),
                     ToTensor(last_rows),
                     ToTensor(rank),
                     std::move(lengths)};
}

Result<PackedBatch> PackNext(std::span<const std::int32_t> ids, std::int64_t before, const SequenceLimits& limits,
                             const Lead& lead) {
  if (before == 0) return Pack(std::array{TokenSequence{ids, {}}}, limits, lead);
  SequenceLimits left = limits;
  left.length -= before;
  ASSIGN_OR_RETURN(PackedBatch batch, Pack(std::array{TokenSequence{ids, {}}}, left));
  batch.positions += before;
  return batch;
}

}  // namespace fedpeft
