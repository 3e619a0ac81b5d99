#include "client/trainer.h"

#include <torch/torch.h>

#include <cmath>
#include <exception>
#include <utility>

#include "client/batches.h"
#include "peft/core/clock.h"
#include "peft/core/random.h"
#include "peft/method/classifier.h"
#include "peft/method/optimizer.h"
#include "peft/model/base_model.h"

namespace fedpeft::client {

namespace {

constexpr std::size_t kEvaluateBatch = 64;

std::unique_ptr<Optimizer> MakeOptimizer(const TrainSpec& train, const ParamLayout& layout, const ViewSpec& view) {
  std::vector<FlatRange> ranges = TrainedRanges(layout, view);
  if (train.optimizer == TrainSpec::Optimizer::kSgd) {
    return MakeSgd({train.momentum, train.weight_decay}, layout.size(), std::move(ranges));
  }
  return MakeAdamW({train.beta1, train.beta2, train.epsilon, train.weight_decay}, layout.size(), std::move(ranges));
}

std::vector<std::uint32_t> Lengths(std::span<const Example> examples) {
  std::vector<std::uint32_t> lengths;
  for (const Example& example : examples) lengths.push_back(static_cast<std::uint32_t>(example.ids.size()));
  return lengths;
}

Status CheckLabels(std::span<const Example> examples, std::int64_t labels) {
  for (const Example& example : examples) {
    if (example.label >= 0 && example.label < labels) continue;
    return InvalidArgument("example: got label " + std::to_string(example.label) + ", want 0 to " +
                           std::to_string(labels - 1));
  }
  return OkStatus();
}

Result<PackedBatch> PackRows(std::span<const Example> examples, std::span<const std::uint32_t> rows,
                             const SequenceLimits& limits) {
  std::vector<TokenSequence> sequences;
  for (const std::uint32_t row : rows) sequences.push_back({examples[row].ids, examples[row].type_ids});
  return Pack(sequences, limits);
}

torch::Tensor LabelsOf(std::span<const Example> examples, std::span<const std::uint32_t> rows) {
  std::vector<std::int64_t> labels;
  for (const std::uint32_t row : rows) labels.push_back(examples[row].label);
  return torch::tensor(at::ArrayRef<std::int64_t>(labels), torch::kInt64);
}

Status CheckStop(const std::atomic<bool>* stop) {
  return stop != nullptr && stop->load() ? Cancelled("training: was stopped") : OkStatus();
}

/// Runs `body`, and makes a Status of what LibTorch throws.
template <typename Body>
auto CatchTorch(const char* what, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const c10::Error& error) {
    return Internal(std::string(what) + ": LibTorch failed: " + error.what_without_backtrace());
  } catch (const std::exception& error) {
    return Internal(std::string(what) + ": failed: " + error.what());
  }
}

}  // namespace

struct LocalTrainer::State {
  std::shared_ptr<const BaseModel> base;
  TrainSpec train;
  std::uint64_t seed = 0;
  PeftPlan plan;
  std::shared_ptr<const ParamLayout> layout;
  ViewSpec view;
  std::unique_ptr<Optimizer> optimizer;

  Result<TrainStats> Train(ParamVector& params, std::span<const Example> examples, const TrainRequest& request,
                           const std::atomic<bool>* stop, const Progress& progress);
  Result<double> Step(ParamVector& params, ParamVector& grads, const PeftClassifier& model, const PackedBatch& batch,
                      const torch::Tensor& labels, const ForwardMode& mode, double learning_rate);

  /// Calls `use(logits, rows)` for batches of all examples.
  template <typename Use>
  Status ForEachBatch(const ParamVector& params, std::span<const Example> examples, const std::atomic<bool>* stop,
                      Use use) const;
};

/// Forward, backward, clip, optimise; the loss of the batch.
Result<double> LocalTrainer::State::Step(ParamVector& params, ParamVector& grads, const PeftClassifier& model,
                                         const PackedBatch& batch, const torch::Tensor& labels, const ForwardMode& mode,
                                         double learning_rate) {
  std::fill(grads.values().begin(), grads.values().end(), 0.0f);
  const torch::Tensor loss = torch::cross_entropy_loss(model.Logits(batch, mode), labels);
  const double value = loss.item<float>();
  if (!std::isfinite(value)) {
    return Status(Code::kAborted, "loss: got " + std::to_string(value) +
                                      ", want a finite number (lower train.learning_rate or set train.clip_norm)");
  }
  loss.backward();
  const double norm = ClipGradients(grads.values(), TrainedRanges(*layout, view), train.clip_norm);
  if (!std::isfinite(norm)) {
    return Status(Code::kAborted,
                  "gradient norm: got " + std::to_string(norm) + ", want a finite number (lower train.learning_rate)");
  }
  optimizer->Step(params.values(), grads.values(), learning_rate);
  return value;
}

Result<TrainStats> LocalTrainer::State::Train(ParamVector& params, std::span<const Example> examples,
                                              const TrainRequest& request, const std::atomic<bool>* stop,
                                              const Progress& progress) {
  const Instant started = Clock::System().Now();
  ParamVector trained = params.Clone();
  ParamVector grads(layout);
  const BoundParams bound(trained, grads, view);
  const PeftClassifier model(*base, plan, *layout, bound);
  if (!request.keep_optimizer || !optimizer) optimizer = MakeOptimizer(train, *layout, view);

  RandomStream order = OrderStream(seed, request.round, request.client);
  RandomStream dropout(seed, "dropout", {request.round, StreamId(request.client)});
  const ForwardMode mode{train.base_dropout, plan.lora.dropout, at::detail::createCPUGenerator(dropout.NextU64())};
  const std::vector<std::uint32_t> lengths = Lengths(examples);
  const auto batch_size = static_cast<std::size_t>(train.batch_size);
  const auto per_epoch = static_cast<std::int64_t>((examples.size() + batch_size - 1) / batch_size);
  const std::int64_t steps = train.epochs > 0 ? train.epochs * per_epoch : train.steps;

  TrainStats stats;
  BatchPlan batches;
  while (stats.steps < steps) {
    RETURN_IF_ERROR(CheckStop(stop));
    const auto in_epoch = static_cast<std::size_t>(stats.steps % per_epoch);
    if (in_epoch == 0) batches = ShuffledBatches(lengths, batch_size, order);
    const std::vector<std::uint32_t>& rows = batches[in_epoch];
    ASSIGN_OR_RETURN(const PackedBatch batch, PackRows(examples, rows, base->limits()));
    const Result<double> loss =
        Step(trained, grads, model, batch, LabelsOf(examples, rows), mode, request.learning_rate);
    if (!loss.ok()) return loss.status().Annotate("step " + std::to_string(stats.steps + 1));
    ++stats.steps;
    stats.examples += static_cast<std::int64_t>(rows.size());
    stats.tokens += batch.ids.numel();
    stats.loss += *loss * static_cast<double>(rows.size());
    if (progress) progress({stats.steps, steps, *loss});
  }
  stats.loss /= static_cast<double>(stats.examples);
  stats.seconds = ToSeconds(Clock::System().Now() - started);
  params = std::move(trained);
  return stats;
}

template <typename Use>
Status LocalTrainer::State::ForEachBatch(const ParamVector& params, std::span<const Example> examples,
                                         const std::atomic<bool>* stop, Use use) const {
  const c10::InferenceMode inference;
  const BoundParams bound(params);
  const PeftClassifier model(*base, plan, *layout, bound);
  const std::vector<std::uint32_t> lengths = Lengths(examples);
  for (const std::vector<std::uint32_t>& rows : SortedBatches(lengths, kEvaluateBatch)) {
    RETURN_IF_ERROR(CheckStop(stop));
    ASSIGN_OR_RETURN(const PackedBatch batch, PackRows(examples, rows, base->limits()));
    use(model.Logits(batch), std::span<const std::uint32_t>(rows));
  }
  return OkStatus();
}

void SetTrainingThreads(int threads) {
  at::set_num_threads(threads);
}
int TrainingThreads() {
  return at::get_num_threads();
}

LocalTrainer::LocalTrainer(std::unique_ptr<State> state) : state_(std::move(state)) {}
LocalTrainer::~LocalTrainer() = default;

Result<std::unique_ptr<LocalTrainer>> LocalTrainer::Make(std::shared_ptr<const BaseModel> base, const RunSpec& run,
                                                         std::shared_ptr<const ParamLayout> layout) {
  if (base->shape() != run.plan.base) {
    return FailedPrecondition("base: has other dimensions than the run's (use the base that the run names)");
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> planned, PlanLayout(run.plan));
  if (planned->digest() != layout->digest()) {
    return InvalidArgument("layout: got " + Hex(layout->digest()) + ", want the run's " + Hex(planned->digest()));
  }
  if (run.train.batch_size < 1 || run.train.epochs < 0 || (run.train.epochs == 0 && run.train.steps < 1)) {
    return InvalidArgument("train: want a batch_size of at least 1, and epochs or steps of at least 1");
  }
  ViewSpec view = PlanView(run.plan, *layout);
  return std::unique_ptr<LocalTrainer>(new LocalTrainer(std::make_unique<State>(
      State{std::move(base), run.train, run.seed, run.plan, std::move(layout), std::move(view), nullptr})));
}

Result<TrainStats> LocalTrainer::TrainRound(ParamVector& params, std::span<const Example> examples,
                                            const TrainRequest& request, const std::atomic<bool>* stop,
                                            const Progress& progress) {
  if (examples.empty()) return InvalidArgument("training: got no examples, want at least 1");
  RETURN_IF_ERROR(CheckLabels(examples, state_->plan.labels));
  return CatchTorch("training", [&] { return state_->Train(params, examples, request, stop, progress); });
}

Result<EvaluateStats> LocalTrainer::Evaluate(const ParamVector& params, std::span<const Example> examples,
                                             const std::atomic<bool>* stop) {
  if (examples.empty()) return InvalidArgument("evaluation: got no examples, want at least 1");
  RETURN_IF_ERROR(CheckLabels(examples, state_->plan.labels));
  return CatchTorch("evaluation", [&]() -> Result<EvaluateStats> {
    const Instant started = Clock::System().Now();
    EvaluateStats stats;
    const auto add = [&](const torch::Tensor& logits, std::span<const std::uint32_t> rows) {
      const torch::Tensor labels = LabelsOf(examples, rows);
      stats.examples += labels.numel();
      stats.correct += logits.argmax(1).eq(labels).sum().item<std::int64_t>();
      stats.loss_sum += torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum).item<float>();
    };
    RETURN_IF_ERROR(state_->ForEachBatch(params, examples, stop, add));
    if (!std::isfinite(stats.loss_sum)) {
      return Status(Code::kAborted, "evaluation: loss is not finite (the parameters have diverged)");
    }
    stats.seconds = ToSeconds(Clock::System().Now() - started);
    return stats;
  });
}

Result<Predictions> LocalTrainer::Predict(const ParamVector& params, std::span<const Example> examples,
                                          const std::atomic<bool>* stop) {
  if (examples.empty()) return InvalidArgument("prediction: got no examples, want at least 1");
  return CatchTorch("prediction", [&]() -> Result<Predictions> {
    const auto labels = static_cast<std::size_t>(state_->plan.labels);
    Predictions predictions{state_->plan.labels, std::vector<float>(examples.size() * labels)};
    const auto add = [&](const torch::Tensor& logits, std::span<const std::uint32_t> rows) {
      const torch::Tensor probabilities = logits.softmax(1).contiguous();
      const float* from = probabilities.const_data_ptr<float>();
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::copy_n(from + i * labels, labels, predictions.probabilities.data() + rows[i] * labels);
      }
    };
    RETURN_IF_ERROR(state_->ForEachBatch(params, examples, stop, add));
    return predictions;
  });
}

}  // namespace fedpeft::client
