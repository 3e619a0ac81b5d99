#include "client/objective.h"

#include <torch/torch.h>

#include <cmath>
#include <string>
#include <vector>

#include "peft/core/check.h"
#include "peft/method/classifier.h"
#include "peft/metrics/counting.h"

namespace fedpeft::client {

namespace {

template <typename T, typename Field>
torch::Tensor Gather(const ExampleBatch& batch, Field Example::*field) {
  std::vector<T> values;
  for (const std::uint32_t row : batch.rows) values.push_back(static_cast<T>(batch.examples[row].*field));
  return torch::tensor(at::ArrayRef<T>(values));
}

template <typename T>
void Append(const torch::Tensor& values, std::vector<T>& to) {
  const torch::Tensor flat = values.contiguous();
  const T* data = flat.const_data_ptr<T>();
  to.insert(to.end(), data, data + flat.numel());
}

class Classification final : public Objective {
 public:
  Classification(PeftClassifier model, std::int64_t labels) : model_(std::move(model)), labels_(labels) {}

  Status Check(const Example& example) const override {
    if (example.label >= 0 && example.label < labels_) return OkStatus();
    return InvalidArgument("example: got label " + std::to_string(example.label) + ", want 0 to " +
                           std::to_string(labels_ - 1));
  }
  Loss LossOf(const ExampleBatch& batch, const ForwardMode& mode) const override {
    const torch::Tensor labels = Gather<std::int64_t>(batch, &Example::label);
    return {torch::cross_entropy_loss(model_.Logits(batch.packed, mode), labels), labels.numel()};
  }
  torch::Tensor SumOfRows(const ExampleBatch& batch, const ForwardMode& mode) const override {
    const torch::Tensor labels = Gather<std::int64_t>(batch, &Example::label);
    return torch::cross_entropy_loss(model_.Logits(batch.packed, mode), labels, {}, at::Reduction::Sum);
  }
  void Observe(const ExampleBatch& batch) override {
    const torch::Tensor logits = model_.Logits(batch.packed);
    const torch::Tensor labels = Gather<std::int64_t>(batch, &Example::label);
    loss_ += torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum).item<float>();
    Append(logits.argmax(1), guesses_);
    Append(labels, truths_);
  }
  Result<Totals> Counted() const override { return CountClasses(guesses_, truths_, labels_, loss_); }
  torch::Tensor Predict(const ExampleBatch& batch) const override { return model_.Logits(batch.packed).softmax(1); }

 private:
  PeftClassifier model_;
  std::int64_t labels_;
  double loss_ = 0;
  std::vector<std::int64_t> guesses_, truths_;
};

class Regression final : public Objective {
 public:
  explicit Regression(PeftClassifier model) : model_(std::move(model)) {}

  Status Check(const Example& example) const override {
    if (std::isfinite(example.value)) return OkStatus();
    return InvalidArgument("example: got value " + std::to_string(example.value) + ", want a finite number");
  }
  Loss LossOf(const ExampleBatch& batch, const ForwardMode& mode) const override {
    const torch::Tensor values = Gather<float>(batch, &Example::value);
    return {torch::mse_loss(model_.Logits(batch.packed, mode).squeeze(1), values), values.numel()};
  }
  torch::Tensor SumOfRows(const ExampleBatch& batch, const ForwardMode& mode) const override {
    const torch::Tensor values = Gather<float>(batch, &Example::value);
    return torch::mse_loss(model_.Logits(batch.packed, mode).squeeze(1), values, at::Reduction::Sum);
  }
  void Observe(const ExampleBatch& batch) override {
    Append(model_.Logits(batch.packed).squeeze(1), guesses_);
    Append(Gather<float>(batch, &Example::value), truths_);
  }
  Result<Totals> Counted() const override { return CountValues(guesses_, truths_); }
  torch::Tensor Predict(const ExampleBatch& batch) const override { return model_.Logits(batch.packed); }

 private:
  PeftClassifier model_;
  std::vector<float> guesses_, truths_;
};

}  // namespace

std::unique_ptr<Objective> MakeObjective(ProblemType problem, const BaseModel& base, const PeftPlan& plan,
                                         const ParamLayout& layout, const BoundParams& params) {
  switch (problem) {
    case ProblemType::kClassification:
      return std::make_unique<Classification>(PeftClassifier(base, plan, layout, params), plan.labels);
    case ProblemType::kRegression:
      return std::make_unique<Regression>(PeftClassifier(base, plan, layout, params));
    case ProblemType::kLanguageModelling:
      return MakeLanguageObjective(base, plan, layout, params);
  }
  FEDPEFT_CHECK(false);
}

}  // namespace fedpeft::client
