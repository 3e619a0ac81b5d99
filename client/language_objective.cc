#include <torch/torch.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "client/objective.h"
#include "peft/core/check.h"
#include "peft/method/language_model.h"
#include "peft/metrics/counting.h"

namespace fedpeft::client {

namespace {

NextTokens TargetsOf(const ExampleBatch& batch) {
  std::vector<std::int64_t> prompts;
  for (const std::uint32_t row : batch.rows) {
    for (const Document& document : batch.examples[row].documents) prompts.push_back(document.prompt);
  }
  return NextTokensOf(batch.packed, prompts);
}

/// Of each target one over how many its row has.
std::vector<float> WeightsOf(const ExampleBatch& batch, const NextTokens& targets) {
  std::vector<float> weights;
  auto count = targets.counts.begin();
  for (const std::uint32_t row : batch.rows) {
    const auto end = count + static_cast<std::ptrdiff_t>(batch.examples[row].documents.size());
    const std::int64_t all = std::accumulate(count, end, std::int64_t{0});
    weights.insert(weights.end(), static_cast<std::size_t>(all), 1 / static_cast<float>(all));
    count = end;
  }
  return weights;
}

class LanguageModelling final : public Objective {
 public:
  explicit LanguageModelling(PeftLanguageModel model) : model_(std::move(model)) {}

  Status Check(const Example& example) const override {
    std::size_t tokens = 0;
    bool learns = false;
    for (const Document& document : example.documents) {
      tokens += document.length;
      learns = learns || std::max(document.prompt, std::uint32_t{1}) < document.length;
    }
    if (learns && tokens == example.ids.size()) return OkStatus();
    return InvalidArgument("example: want documents that are its tokens, with one to predict");
  }
  Loss LossOf(const ExampleBatch& batch, const ForwardMode& mode) const override {
    const NextTokens targets = TargetsOf(batch);
    return {model_.MeanLoss(model_.Hidden(batch.packed, targets.rows, mode), targets.ids), targets.ids.numel()};
  }
  torch::Tensor SumOfRows(const ExampleBatch& batch, const ForwardMode& mode) const override {
    const NextTokens targets = TargetsOf(batch);
    const torch::Tensor weights = torch::tensor(at::ArrayRef<float>(WeightsOf(batch, targets)));
    return model_.WeightedLoss(model_.Hidden(batch.packed, targets.rows, mode), targets.ids, weights);
  }
  void Observe(const ExampleBatch& batch) override {
    const NextTokens targets = TargetsOf(batch);
    const auto answers = model_.Judge(model_.Hidden(batch.packed, targets.rows), targets.ids);
    loss_ += answers.loss;
    correct_ += answers.correct;
    tokens_ += targets.ids.numel();
    examples_ += static_cast<std::int64_t>(batch.rows.size());
  }
  Result<Totals> Counted() const override { return CountTokens(examples_, tokens_, correct_, loss_); }
  torch::Tensor Predict(const ExampleBatch&) const override { FEDPEFT_CHECK(false); }

 private:
  PeftLanguageModel model_;
  double loss_ = 0;
  std::int64_t examples_ = 0, tokens_ = 0, correct_ = 0;
};

}  // namespace

std::unique_ptr<Objective> MakeLanguageObjective(const BaseModel& base, const PeftPlan& plan, const ParamLayout& layout,
                                                 const BoundParams& params) {
  return std::make_unique<LanguageModelling>(PeftLanguageModel(base, plan, layout, params));
}

}  // namespace fedpeft::client
