#include "client/trainer.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>
#include <utility>
#include <variant>

#include "client/activations.h"
#include "client/batches.h"
#include "client/example_gradients.h"
#include "client/objective.h"
#include "configs/privacy.h"
#include "configs/views.h"
#include "peft/core/clock.h"
#include "peft/core/log.h"
#include "peft/core/random.h"
#include "peft/method/bound_params.h"
#include "peft/method/hook.h"
#include "peft/method/lora.h"
#include "peft/method/optimizer.h"
#include "peft/method/rank_scores.h"
#include "peft/model/base_model.h"
#include "peft/plan/ranks.h"
#include "privacy/noise/random_bits.h"

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

/// Of one step's batch.
struct StepStats {
  std::int64_t examples = 0;
  std::int64_t tokens = 0;
  /// The mean over its targets.
  double loss = 0;
  std::int64_t targets = 0;
};

Status CheckExamples(const Objective& objective, std::span<const Example> examples) {
  for (const Example& example : examples) RETURN_IF_ERROR(objective.Check(example));
  return OkStatus();
}

}  // namespace

struct LocalTrainer::State {
  explicit State(RunViews of_rounds) : views(std::move(of_rounds)) {}

  std::shared_ptr<const BaseModel> base;
  ProblemType problem = ProblemType::kClassification;
  TrainSpec train;
  /// Under example-level privacy: how gradients are clipped, and what a round costs.
  PrivacySpec privacy;
  std::optional<TrainingReleases> releases;
  /// Of an evaluation's batch: as many as a training step may have, which take more memory.
  std::size_t evaluate_tokens = 0;
  std::uint64_t seed = 0;
  PeftPlan plan;
  std::shared_ptr<const ParamLayout> layout;
  RunViews views;
  ActivationStore kept_activations{0};
  /// That they could not be kept.
  bool told_of_activations = false;
  /// Of the last round, and what that trained.
  std::unique_ptr<Optimizer> optimizer;
  ViewSpec view;
  KeptRanks kept;
  /// Of this round, where the method has ranks to choose from.
  std::optional<RankScores> scores;

  Result<TrainStats> Train(ParamVector& params, std::span<const Example> examples, const TrainRequest& request,
                           const std::atomic<bool>* stop, const Progress& progress);
  /// What is added to the loss whatever the examples; undefined: nothing.
  torch::Tensor Penalty(const BoundParams& bound) const { return OrthogonalityLoss(plan, *layout, bound.tensors()); }
  Result<StepStats> Backward(ParamVector& grads, const BoundParams& bound, const Objective& objective,
                             const ExampleBatch& batch, const ForwardMode& mode) const;
  Result<StepStats> PrivateBackward(ParamVector& grads, const BoundParams& bound, const ParamVector& params,
                                    ExampleGradients& gradients, const ForwardMode& mode) const;
  Status Optimise(ParamVector& params, ParamVector& grads, double learning_rate);
  std::vector<bool> TrainedInAnyRound() const {
    std::vector<bool> trained = views.shared();
    for (std::size_t i = 0; i < trained.size(); ++i) trained[i] = trained[i] || views.personal()[i];
    return trained;
  }
  std::unique_ptr<Objective> ObjectiveOf(const BoundParams& params) const {
    return MakeObjective(problem, *base, plan, *layout, params);
  }

  /// What the part below all that `trained` names makes of the examples; null: they pass through the whole base. Valid
  /// until the next call. Errors: kCancelled.
  Result<const Activations*> Lower(const ParamVector& params, std::span<const Example> examples,
                                   const std::vector<bool>& trained, const std::atomic<bool>* stop);
  /// Of the examples whose activations `lower` is, where it is not null.
  Result<ExampleBatch> PackBatch(std::span<const Example> examples, std::span<const std::uint32_t> rows,
                                 const Activations* lower) const;
  /// Calls `use(batch)` for batches of all examples.
  template <typename Use>
  Status ForEachBatch(std::span<const Example> examples, const Activations* lower, const std::atomic<bool>* stop,
                      Use use) const;
};

Result<const Activations*> LocalTrainer::State::Lower(const ParamVector& params, std::span<const Example> examples,
                                                      const std::vector<bool>& trained, const std::atomic<bool>* stop) {
  if (!kept_activations.on() || LeadOf(plan.method).positions() > 0) return nullptr;
  const UntrainedPart part = UntrainedBelow(plan, *layout, trained);
  if (part.layer == 0) return nullptr;
  Sha256 values;
  for (const std::size_t i : part.tensors) values.Update(AsBytes(params.tensor(i)));
  const BoundParams bound(params);
  const auto hook = MakeHook(plan, *layout, bound.tensors());
  LowerModel lower{*base, *hook, part.layer, values.Finish(), kEvaluateBatch, evaluate_tokens};
  if (releases) lower.batch_size = 1;  // an example's gradient must not depend on who else there is
  Result<const Activations*> found = kept_activations.Of(lower, examples, stop);
  if (found.ok() || found.status().code() == Code::kCancelled) return found;
  if (!std::exchange(told_of_activations, true)) {
    LogWarning("activations.not_kept", {{"reason", found.status().ToString()}});
  }
  return nullptr;
}

Result<ExampleBatch> LocalTrainer::State::PackBatch(std::span<const Example> examples,
                                                    std::span<const std::uint32_t> rows,
                                                    const Activations* lower) const {
  ASSIGN_OR_RETURN(ExampleBatch batch, PackRows(examples, rows, base->limits(), LeadOf(plan.method)));
  if (lower != nullptr) lower->Enter(batch);
  return batch;
}

/// The gradient of a batch.
Result<StepStats> LocalTrainer::State::Backward(ParamVector& grads, const BoundParams& bound,
                                                const Objective& objective, const ExampleBatch& batch,
                                                const ForwardMode& mode) const {
  std::fill(grads.values().begin(), grads.values().end(), 0.0f);
  const Objective::Loss loss = objective.LossOf(batch, mode);
  const double value = loss.mean.item<float>();
  if (!std::isfinite(value)) {
    return Status(Code::kAborted, "loss: got " + std::to_string(value) +
                                      ", want a finite number (lower train.learning_rate or set train.clip_norm)");
  }
  const torch::Tensor penalty = Penalty(bound);
  (penalty.defined() ? loss.mean + penalty : loss.mean).backward();
  return StepStats{static_cast<std::int64_t>(batch.rows.size()), batch.packed.ids.numel(), value, loss.targets};
}

/// The noised gradient of a batch that is drawn. Never fails for what the examples are: that would tell of them.
Result<StepStats> LocalTrainer::State::PrivateBackward(ParamVector& grads, const BoundParams& bound,
                                                       const ParamVector& params, ExampleGradients& gradients,
                                                       const ForwardMode& mode) const {
  std::fill(grads.values().begin(), grads.values().end(), 0.0f);
  ASSIGN_OR_RETURN(const DrawnBatch drawn, gradients.Step(params, mode, grads));
  if (const torch::Tensor penalty = Penalty(bound); penalty.defined()) penalty.backward();
  const double mean = drawn.loss / static_cast<double>(std::max<std::int64_t>(1, drawn.examples));
  return StepStats{drawn.examples, drawn.tokens, mean, drawn.examples};
}

/// Clips and takes the step.
Status LocalTrainer::State::Optimise(ParamVector& params, ParamVector& grads, double learning_rate) {
  const double norm = ClipGradients(grads.values(), TrainedRanges(*layout, view), train.clip_norm);
  if (!std::isfinite(norm)) {
    return Status(Code::kAborted,
                  "gradient norm: got " + std::to_string(norm) + ", want a finite number (lower train.learning_rate)");
  }
  optimizer->Step(params.values(), grads.values(), learning_rate);
  if (scores && releases) ZeroUnusedRanks(params);  // which the noise does not spare
  if (scores) scores->Observe(params.values(), grads.values());
  return OkStatus();
}

Result<TrainStats> LocalTrainer::State::Train(ParamVector& params, std::span<const Example> examples,
                                              const TrainRequest& request, const std::atomic<bool>* stop,
                                              const Progress& progress) {
  const Instant started = Clock::System().Now();
  ParamVector trained = params.Clone();
  ParamVector grads(layout);
  const ViewSpec& round_view = views.At(request.round);
  const KeptRanks in_use = KeptRanksOf(params);
  const BoundParams bound(trained, grads, round_view);
  const std::unique_ptr<Objective> objective = ObjectiveOf(bound);
  RETURN_IF_ERROR(CheckExamples(*objective, examples));
  if (!request.keep_optimizer || !optimizer || view != round_view || kept != in_use)
    optimizer = MakeOptimizer(train, *layout, round_view);
  view = round_view;
  kept = in_use;
  scores.reset();
  if (const auto* adalora = std::get_if<AdaLoraConfig>(&plan.method)) scores.emplace(*adalora, layout);

  RandomStream order = OrderStream(seed, request.round, request.client);
  const std::vector<std::uint32_t> lengths = LengthsOf(examples);
  const auto batch_size = static_cast<std::size_t>(train.batch_size);
  TrainStats stats;
  const auto per_epoch = static_cast<std::int64_t>((examples.size() + batch_size - 1) / batch_size);
  const std::int64_t steps = StepsOf(train, examples.size());
  const bool same_every_time = train.base_dropout == 0 && BranchDropout(plan.method) == 0;
  const Activations* lower = nullptr;
  if (same_every_time && steps >= per_epoch) {
    ASSIGN_OR_RETURN(lower, Lower(params, examples, round_view.train, stop));
  }
  std::optional<ExampleGradients> gradients;
  if (releases) {
    ASSIGN_OR_RETURN(const TrainingRelease cost, releases->Of(examples.size()));
    gradients.emplace(privacy, std::get<privacy::PoissonSum>(cost.release),
                      ExampleGradients::Model{*base, problem, plan, *layout, view, lower}, examples, evaluate_tokens,
                      *request.random);
  }

  // Under example-level privacy in secret too: an example more shifts the others' masks, so that the bound on what it
  // changes is for masks that nobody knows.
  const std::uint64_t masks = releases
                                  ? privacy::RandomBits(*request.random).Next()
                                  : RandomStream(seed, "dropout", {request.round, StreamId(request.client)}).NextU64();
  const ForwardMode mode{train.base_dropout, BranchDropout(plan.method), at::detail::createCPUGenerator(masks)};

  BatchPlan batches;
  const auto backward = [&](std::int64_t step) -> Result<StepStats> {
    if (gradients) return PrivateBackward(grads, bound, trained, *gradients, mode);
    const auto in_epoch = static_cast<std::size_t>(step % per_epoch);
    if (in_epoch == 0) batches = ShuffledBatches(lengths, batch_size, order);
    ASSIGN_OR_RETURN(const ExampleBatch batch, PackBatch(examples, batches[in_epoch], lower));
    return Backward(grads, bound, *objective, batch, mode);
  };

  std::int64_t targets = 0;
  while (stats.steps < steps) {
    RETURN_IF_ERROR(CheckStop(stop));
    const Result<StepStats> step = backward(stats.steps);
    const Status status = step.ok() ? Optimise(trained, grads, request.learning_rate) : step.status();
    if (!status.ok()) return status.Annotate("step " + std::to_string(stats.steps + 1));
    ++stats.steps;
    stats.examples += step->examples;
    stats.tokens += step->tokens;
    targets += step->targets;
    stats.loss += step->loss * static_cast<double>(step->targets);
    if (progress) progress({stats.steps, steps, step->loss});
  }
  if (scores) scores->Write(trained);
  stats.loss /= static_cast<double>(std::max<std::int64_t>(1, targets));
  if (gradients) {
    stats.clipped = gradients->clipped();
    stats.not_finite = gradients->not_finite();
  }
  stats.seconds = ToSeconds(Clock::System().Now() - started);
  params = std::move(trained);
  return stats;
}

template <typename Use>
Status LocalTrainer::State::ForEachBatch(std::span<const Example> examples, const Activations* lower,
                                         const std::atomic<bool>* stop, Use use) const {
  const std::vector<std::uint32_t> lengths = LengthsOf(examples);
  for (const std::vector<std::uint32_t>& rows : SortedBatches(lengths, kEvaluateBatch, evaluate_tokens)) {
    RETURN_IF_ERROR(CheckStop(stop));
    ASSIGN_OR_RETURN(const ExampleBatch batch, PackBatch(examples, rows, lower));
    use(batch);
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

void LocalTrainer::KeepActivations(std::uint64_t most_bytes) {
  state_->kept_activations = ActivationStore(most_bytes);
}

Result<std::unique_ptr<LocalTrainer>> LocalTrainer::Make(std::shared_ptr<const BaseModel> base, const RunSpec& run,
                                                         std::shared_ptr<const ParamLayout> layout) {
  if (base->shape() != run.plan.base) {
    return FailedPrecondition("base: has other dimensions than the run's (use the base that the run names)");
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> planned, PlanLayout(run.plan));
  if (planned->digest() != layout->digest()) {
    return InvalidArgument("layout: got " + Hex(layout->digest()) + ", want the run's " + Hex(planned->digest()));
  }
  if (run.problem.type == ProblemType::kLanguageModelling && !base->has_language_head()) {
    return FailedPrecondition("base: has no language-model head (lm_head.weight), which this run's problem needs");
  }
  if (run.train.batch_size < 1 || run.train.epochs < 0 || (run.train.epochs == 0 && run.train.steps < 1)) {
    return InvalidArgument("train: want a batch_size of at least 1, and epochs or steps of at least 1");
  }
  if (run.privacy.hides_examples()) RETURN_IF_ERROR(CheckExamplePrivacy(run.privacy, run.plan));
  ASSIGN_OR_RETURN(RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  auto state = std::make_unique<State>(std::move(views));
  state->base = std::move(base);
  state->problem = run.problem.type;
  state->train = run.train;
  if (run.privacy.hides_examples()) {
    state->privacy = run.privacy;
    state->releases.emplace(run);
  }
  state->evaluate_tokens =
      static_cast<std::size_t>(run.train.batch_size) * static_cast<std::size_t>(run.problem.max_length);
  state->seed = run.seed;
  state->plan = run.plan;
  state->layout = std::move(layout);
  return std::unique_ptr<LocalTrainer>(new LocalTrainer(std::move(state)));
}

Result<TrainStats> LocalTrainer::TrainRound(ParamVector& params, std::span<const Example> examples,
                                            const TrainRequest& request, const std::atomic<bool>* stop,
                                            const Progress& progress) {
  if (examples.empty()) return InvalidArgument("training: got no examples, want at least 1");
  return CatchTorch("training", [&] { return state_->Train(params, examples, request, stop, progress); });
}

Result<EvaluateStats> LocalTrainer::Evaluate(const ParamVector& params, std::span<const Example> examples,
                                             const std::atomic<bool>* stop) {
  if (examples.empty()) return InvalidArgument("evaluation: got no examples, want at least 1");
  return CatchTorch("evaluation", [&]() -> Result<EvaluateStats> {
    const Instant started = Clock::System().Now();
    const c10::InferenceMode inference;
    const BoundParams bound(params);
    const std::unique_ptr<Objective> objective = state_->ObjectiveOf(bound);
    RETURN_IF_ERROR(CheckExamples(*objective, examples));
    ASSIGN_OR_RETURN(const Activations* lower, state_->Lower(params, examples, state_->TrainedInAnyRound(), stop));
    RETURN_IF_ERROR(
        state_->ForEachBatch(examples, lower, stop, [&](const ExampleBatch& batch) { objective->Observe(batch); }));
    EvaluateStats stats;
    ASSIGN_OR_RETURN(stats.totals, objective->Counted());
    stats.seconds = ToSeconds(Clock::System().Now() - started);
    return stats;
  });
}

Result<Predictions> LocalTrainer::Predict(const ParamVector& params, std::span<const Example> examples,
                                          const std::atomic<bool>* stop) {
  if (examples.empty()) return InvalidArgument("prediction: got no examples, want at least 1");
  if (state_->problem == ProblemType::kLanguageModelling) {
    return Unimplemented("prediction: got a language model, want a classifier or a regression");
  }
  return CatchTorch("prediction", [&]() -> Result<Predictions> {
    const c10::InferenceMode inference;
    const BoundParams bound(params);
    const std::unique_ptr<Objective> objective = state_->ObjectiveOf(bound);
    const auto outputs = static_cast<std::size_t>(state_->plan.labels);
    Predictions predictions{state_->plan.labels, std::vector<float>(examples.size() * outputs)};
    RETURN_IF_ERROR(state_->ForEachBatch(examples, nullptr, stop, [&](const ExampleBatch& batch) {
      const torch::Tensor values = objective->Predict(batch).contiguous();
      const float* from = values.const_data_ptr<float>();
      for (std::size_t i = 0; i < batch.rows.size(); ++i) {
        std::copy_n(from + i * outputs, outputs, predictions.values.data() + batch.rows[i] * outputs);
      }
    }));
    return predictions;
  });
}

Result<Generated> LocalTrainer::Continue(const ParamVector& params, std::span<const std::int32_t> prompt,
                                         const GenerateOptions& options) {
  if (state_->problem != ProblemType::kLanguageModelling) {
    return Unimplemented("continuation: got a classifier or a regression, want a language model");
  }
  const BoundParams bound(params);
  const auto hook = MakeHook(state_->plan, *state_->layout, bound.tensors());
  return Generate(*state_->base, {hook.get(), LeadOf(state_->plan.method)}, prompt, options);
}

}  // namespace fedpeft::client
