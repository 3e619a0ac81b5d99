// LocalTrainer: the learning on a client. Takes parameters and examples, gives back trained parameters, metrics or
// predictions. Knows no messages, files or rounds beyond the number that names its random streams. Free of LibTorch's
// headers.
//
// Reproducible: the same inputs give the same bits for a fixed number of training threads (SetTrainingThreads) on one
// kind of processor. LibTorch's sums depend on both.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client/example.h"
#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/method/generate.h"
#include "peft/metrics/totals.h"
#include "peft/params/param_vector.h"
#include "privacy/crypto/random_source.h"

namespace fedpeft {
class BaseModel;
}

namespace fedpeft::client {

/// What a round of local training is about, besides parameters and data.
struct TrainRequest {
  double learning_rate = 0;
  std::uint32_t round = 0;  // also chooses the run's view
  /// With the run's seed and the round it names the streams of data order and dropout.
  std::string client;
  /// Goes on with the optimiser's state of this trainer's last round instead of a fresh one (centralised training),
  /// where that trained the same.
  bool keep_optimizer = false;
  /// Of batches, noise and dropout under example-level privacy: never the run's seed.
  privacy::RandomSource* random = &privacy::RandomSource::System();
};

struct TrainProgress {
  std::int64_t step = 0;
  std::int64_t steps = 0;
  /// Of this step's batch.
  double loss = 0;
};

/// Under example-level privacy only `steps` may leave the client: the rest tells of the examples that were drawn.
struct TrainStats {
  /// Rows seen, counted once an epoch.
  std::int64_t examples = 0;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  /// Mean over what was predicted, each at the parameters of its step; under example-level privacy over the examples
  /// that were drawn, 0 without any.
  double loss = 0;
  double seconds = 0;
  /// Under example-level privacy, gradients of examples that were beyond the norm, and that were not finite.
  std::uint64_t clipped = 0;
  std::uint64_t not_finite = 0;
};

struct EvaluateStats {
  Totals totals;
  double seconds = 0;
};

/// One row an example, in their order.
struct Predictions {
  /// The number of classes, or 1.
  std::int64_t outputs = 0;
  /// [examples, outputs], row-major: probabilities, sums of rows are 1; of regression the value.
  std::vector<float> values;
};

/// How many threads LibTorch computes with, process-wide. Pre: threads ≥ 1; no training is running.
void SetTrainingThreads(int threads);
int TrainingThreads();

/// Threads: an object is used by one thread at a time; any number of objects may share a base.
class LocalTrainer {
 public:
  using Progress = std::function<void(const TrainProgress&)>;

  /// Errors: kFailedPrecondition when the base has another shape than the run's; kInvalidArgument when the layout is
  /// not the run's plan; RunViews'; with privacy that hides examples kInvalidArgument for a clip or noise that is no
  /// positive number, kUnimplemented for a method without gradients of single examples.
  static Result<std::unique_ptr<LocalTrainer>> Make(std::shared_ptr<const BaseModel> base, const RunSpec& run,
                                                    std::shared_ptr<const ParamLayout> layout);
  ~LocalTrainer();

  /// From now on what the layers below all training make of examples is computed once and kept, in up to so many bytes
  /// of memory and of files without names (activations.h): for rounds of an epoch or more without dropout, and for
  /// evaluations. Results are the same but for the order of some sums of floats; 0: nothing is kept.
  void KeepActivations(std::uint64_t most_bytes);

  /// Trains by the run's settings; `params` is the start and, only on success, becomes the result. With
  /// privacy that hides examples each step is one of example_gradients.h, and an epoch ⌈examples / batch_size⌉ of them.
  /// Errors: kInvalidArgument for no examples or one the base cannot take; kAborted when a loss or gradient is not
  /// finite (under example-level privacy an example's counts as zero); kCancelled once `stop` is true (looked at before
  /// every step); kInternal for a failure of LibTorch.
  Result<TrainStats> TrainRound(ParamVector& params, std::span<const Example> examples, const TrainRequest& request,
                                const std::atomic<bool>* stop = nullptr, const Progress& progress = {});

  /// Errors: TrainRound's.
  Result<EvaluateStats> Evaluate(const ParamVector& params, std::span<const Example> examples,
                                 const std::atomic<bool>* stop = nullptr);
  /// Labels are not read. Errors: TrainRound's; kUnimplemented of language modelling.
  Result<Predictions> Predict(const ParamVector& params, std::span<const Example> examples,
                              const std::atomic<bool>* stop = nullptr);
  /// What follows a text, of language modelling. Errors: Generate's; kUnimplemented of other problems.
  Result<Generated> Continue(const ParamVector& params, std::span<const std::int32_t> prompt,
                             const GenerateOptions& options);

 private:
  struct State;
  explicit LocalTrainer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::client
