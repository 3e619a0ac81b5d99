// PeftLanguageModel: frozen decoder + method + the base's own language-model head, as a function of the trained
// tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "peft/method/bound_params.h"
#include "peft/method/hook.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft {

/// Holds views of the tensors it is made from; cheap to make, one for every set of parameters.
class PeftLanguageModel {
 public:
  /// Pre: base.has_language_head(); `params` binds the layout that PlanLayout(plan) made, plan.base is the base's
  /// shape, and all three outlive this object.
  PeftLanguageModel(const BaseModel& base, const PeftPlan& plan, const ParamLayout& layout, const BoundParams& params)
      : base_(base), hook_(MakeHook(plan, layout, params.tensors(), params.rows())) {}

  /// What the head reads at some rows of the packed batch. Shapes: rows int64 [n] → [n, C].
  at::Tensor Hidden(const PackedBatch& batch, const at::Tensor& rows, const ForwardMode& mode = {}) const {
    return base_.Hidden(batch, *hook_, mode).index_select(0, rows);
  }
  /// Scores of the token after each. Shapes: [n, C] → [n, V] float32: a few rows of a large vocabulary are many bytes.
  at::Tensor Scores(const at::Tensor& hidden) const;
  /// The mean cross entropy, with its gradient towards `hidden`. Makes the scores of a few rows at a time and forgets
  /// them: the gradient is computed with the loss. Where the head is trained too, all scores are there at once. Pre:
  /// n > 0. Shapes: [n, C], int64 [n] → scalar.
  at::Tensor MeanLoss(const at::Tensor& hidden, const at::Tensor& ids,
                      std::int64_t scores_at_once = kScoresAtOnce) const;
  /// The same, each row counting by its weight instead of 1/n. Shapes: weights float32 [n].
  at::Tensor WeightedLoss(const at::Tensor& hidden, const at::Tensor& ids, const at::Tensor& weights) const;
  /// The same for an evaluation: the sum of nats, and how many first guesses are right. Pre: no gradients are recorded.
  struct Answers {
    double loss = 0;
    std::int64_t correct = 0;
  };
  Answers Judge(const at::Tensor& hidden, const at::Tensor& ids, std::int64_t scores_at_once = kScoresAtOnce) const;

 private:
  /// 64 MiB of floats.
  static constexpr std::int64_t kScoresAtOnce = std::int64_t{1} << 24;

  /// The sum of `loss_of(scores, rows)`, a few rows [rows.first, rows.second) at a time.
  using LossOf = std::function<at::Tensor(const at::Tensor& scores, std::pair<std::int64_t, std::int64_t> rows)>;
  at::Tensor LossByPieces(const at::Tensor& hidden, std::int64_t scores_at_once, const LossOf& loss_of) const;
  std::int64_t RowsOf(std::int64_t scores) const {
    return std::max<std::int64_t>(1, scores / base_.shape().vocab_size);
  }

  const BaseModel& base_;
  std::unique_ptr<const SiteHook> hook_;
};

/// Which rows of a packed batch predict, and what comes there. Shapes: each int64 [n], sequence after sequence.
struct NextTokens {
  at::Tensor rows;
  at::Tensor ids;
  /// How many of each sequence.
  std::vector<std::int64_t> counts;
};

/// Every token of sequence i (in the caller's order) from the `prompts[i]`-th on is predicted by the one before it; a
/// first token only if a prompt of the method stands before it. Pre: as many prompts as sequences.
NextTokens NextTokensOf(const PackedBatch& batch, std::span<const std::int64_t> prompts);

}  // namespace fedpeft
