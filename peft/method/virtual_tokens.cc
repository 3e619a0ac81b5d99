#include "peft/method/virtual_tokens.h"

#include <torch/torch.h>

namespace fedpeft {

using torch::Tensor;

VirtualTokens::VirtualTokens(const std::optional<TokenMlp>& mlp, const NamedTensors& tensors)
    : vectors_(tensors.Get(mlp ? mlp->vectors : "prompt_embeddings")) {
  if (!mlp) return;
  tanh_ = mlp->tanh;
  for (const TokenMlp::Linear& linear : mlp->linears) {
    linears_.push_back({tensors.Get(linear.name + ".weight").value(), tensors.Get(linear.name + ".bias").value()});
  }
}

Trained VirtualTokens::Columns(std::int64_t begin, std::int64_t width) const {
  if (linears_.empty()) return vectors_.Columns(begin, width);
  Tensor x = vectors_.value();
  for (std::size_t i = 0; i + 1 < linears_.size(); ++i) {
    x = torch::linear(x, linears_[i].weight, linears_[i].bias);
    x = tanh_ ? x.tanh() : x.relu();
  }
  const Linear& last = linears_.back();
  return torch::linear(x, last.weight.narrow(0, begin, width), last.bias.narrow(0, begin, width));
}

KeyValues PrefixHook::Prefix(std::size_t layer) const {
  const Tensor both = tokens_.Columns(2 * static_cast<std::int64_t>(layer) * width_, 2 * width_).OfSequences();
  return {both.narrow(-1, 0, width_), both.narrow(-1, width_, width_)};
}

Tensor PromptHook::Embedded(const Tensor& words, const PackedBatch& batch) const {
  if (batch.lead.prompt == 0) return words;  // a sequence that goes on
  const std::int64_t length = batch.lead.prompt, sequences = batch.first_rows.size(0);
  const Tensor rows = (batch.first_rows.unsqueeze(1) + torch::arange(length)).flatten();
  const Tensor own = tokens_.Columns(0, words.size(1)).OfSequences();
  Tensor vectors = own.dim() == 3 ? own.flatten(0, 1) : own.repeat({sequences, 1});
  if (offsets_) {
    FEDPEFT_CHECK(!batch.lead.ids.empty());  // ResolvePrompt
    vectors = vectors + words.index_select(0, rows);
  }
  return words.index_copy(0, rows, vectors.to(words.scalar_type()));
}

}  // namespace fedpeft
