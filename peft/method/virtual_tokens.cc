#include "peft/method/virtual_tokens.h"

namespace fedpeft {

torch::Tensor PromptHook::Embedded(const torch::Tensor& words, const PackedBatch& batch) const {
  if (batch.lead.prompt == 0) return words;  // a sequence that goes on
  const std::int64_t length = embeddings_.size(0), sequences = batch.first_rows.size(0);
  const torch::Tensor rows = (batch.first_rows.unsqueeze(1) + torch::arange(length)).flatten();
  return words.index_copy(0, rows, embeddings_.to(words.scalar_type()).repeat({sequences, 1}));
}

}  // namespace fedpeft
