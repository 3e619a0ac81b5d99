#include "peft/method/language_model.h"

#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "peft/core/check.h"

namespace fedpeft {

torch::Tensor PeftLanguageModel::Scores(const torch::Tensor& hidden) const {
  return base_.LanguageLogits(hidden, *hook_).to(torch::kFloat32);
}

torch::Tensor PeftLanguageModel::MeanLoss(const torch::Tensor& hidden, const torch::Tensor& ids,
                                          std::int64_t scores_at_once) const {
  if (hook_->trains_language_head()) return torch::cross_entropy_loss(Scores(hidden), ids);
  const auto rows = static_cast<double>(hidden.size(0));
  return LossByPieces(hidden, scores_at_once, [&](const torch::Tensor& scores, const auto& piece) {
    const torch::Tensor targets = ids.slice(0, piece.first, piece.second);
    return torch::cross_entropy_loss(scores, targets, {}, at::Reduction::Sum) / rows;
  });
}

torch::Tensor PeftLanguageModel::WeightedLoss(const torch::Tensor& hidden, const torch::Tensor& ids,
                                              const torch::Tensor& weights) const {
  FEDPEFT_CHECK(!hook_->trains_language_head());
  return LossByPieces(hidden, kScoresAtOnce, [&](const torch::Tensor& scores, const auto& piece) {
    const torch::Tensor targets = ids.slice(0, piece.first, piece.second);
    const torch::Tensor losses = torch::cross_entropy_loss(scores, targets, {}, at::Reduction::None);
    return losses.dot(weights.slice(0, piece.first, piece.second));
  });
}

torch::Tensor PeftLanguageModel::LossByPieces(const torch::Tensor& hidden, std::int64_t scores_at_once,
                                              const LossOf& loss_of) const {
  const std::int64_t rows = hidden.size(0), at_once = RowsOf(scores_at_once);
  const torch::Tensor values = hidden.detach();
  std::vector<torch::Tensor> gradients;
  double loss = 0;
  for (std::int64_t at = 0; at < rows; at += at_once) {
    const torch::Tensor part = values.slice(0, at, at + at_once).detach().requires_grad_();
    const torch::Tensor share = loss_of(Scores(part), {at, at + at_once});
    gradients.push_back(torch::autograd::grad({share}, {part}).front());
    loss += share.item<float>();
  }
  const torch::Tensor zero = (hidden * torch::cat(gradients)).sum(torch::kFloat32);  // once its own value is taken off
  return zero - zero.detach() + loss;
}

PeftLanguageModel::Answers PeftLanguageModel::Judge(const torch::Tensor& hidden, const torch::Tensor& ids,
                                                    std::int64_t scores_at_once) const {
  const std::int64_t at_once = RowsOf(scores_at_once);
  Answers answers;
  for (std::int64_t at = 0; at < hidden.size(0); at += at_once) {
    const torch::Tensor scores = Scores(hidden.slice(0, at, at + at_once));
    const torch::Tensor targets = ids.slice(0, at, at + at_once);
    answers.loss += torch::cross_entropy_loss(scores, targets, {}, at::Reduction::Sum).item<float>();
    answers.correct += scores.argmax(1).eq(targets).sum().item<std::int64_t>();
  }
  return answers;
}

NextTokens NextTokensOf(const PackedBatch& batch, std::span<const std::int64_t> prompts) {
  FEDPEFT_CHECK(batch.rank.numel() == static_cast<std::int64_t>(prompts.size()));
  const auto* rank = batch.rank.const_data_ptr<std::int64_t>();
  const auto* first = batch.first_rows.const_data_ptr<std::int64_t>();
  const auto* last = batch.last_rows.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> rows, counts;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::int64_t lead = batch.lead.prompt;
    const std::int64_t start = first[rank[i]] + lead + std::max<std::int64_t>(prompts[i], lead > 0 ? 0 : 1);
    for (std::int64_t token = start; token <= last[rank[i]]; ++token) rows.push_back(token - 1);
    counts.push_back(std::max<std::int64_t>(0, last[rank[i]] - start + 1));
  }
  torch::Tensor at = torch::tensor(at::ArrayRef<std::int64_t>(rows), torch::kInt64);
  torch::Tensor ids = batch.ids.index_select(0, at + 1);
  return {std::move(at), std::move(ids), std::move(counts)};
}

}  // namespace fedpeft
