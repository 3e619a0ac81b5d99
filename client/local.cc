// The verbs of fedpeft-client that need no coordinator: train, evaluate, predict.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "client/base.h"
#include "client/commands.h"
#include "client/compute.h"
#include "client/dataset.h"
#include "configs/adapter.h"
#include "configs/loader.h"

namespace fedpeft::client {

namespace {

Result<std::vector<Example>> ReadExamples(const std::string& path, const ProblemSpec& problem,
                                          const Tokenizer& tokenizer, bool need_labels) {
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(path, problem));
  Result<std::vector<Example>> examples = MakeExamples(problem, tokenizer, table, need_labels);
  return examples.ok() ? std::move(examples) : examples.status().Annotate(path);
}

double Accuracy(const EvaluateStats& stats) {
  return static_cast<double>(stats.correct) / static_cast<double>(stats.examples);
}
double MeanLoss(const EvaluateStats& stats) {
  return stats.loss_sum / static_cast<double>(stats.examples);
}

/// Everything that evaluate and predict need of an adapter folder.
struct LoadedAdapter {
  RunSpec run;
  ParamVector params;
  std::vector<Example> examples;
  std::unique_ptr<LocalTrainer> trainer;
};

Result<LoadedAdapter> LoadAdapter(const AdapterOptions& options, bool need_labels) {
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.compute.base));
  ASSIGN_OR_RETURN(ImportedAdapter adapter, ImportAdapter(options.adapter, base.shape));
  RunSpec& run = adapter.run;
  const Digest unknown{};
  if (run.weights == unknown) run.weights = base.weights;
  if (run.tokenizer == unknown) run.tokenizer = base.tokenizer.hash();
  RETURN_IF_ERROR(CheckBaseIsRuns(base, run).Annotate(options.adapter));
  if (!options.text_column.empty()) run.problem.text_column = options.text_column;
  if (!options.text_pair_column.empty()) run.problem.text_pair_column = options.text_pair_column;
  if (!options.label_column.empty()) run.problem.label_column = options.label_column;
  ASSIGN_OR_RETURN(std::vector<Example> examples, ReadExamples(options.data, run.problem, base.tokenizer, need_labels));
  UseThreads(options.compute.threads);
  ASSIGN_OR_RETURN(auto model, LoadRunBase(base, run));
  ASSIGN_OR_RETURN(auto trainer, LocalTrainer::Make(std::move(model), run, adapter.params.layout()));
  return LoadedAdapter{std::move(run), std::move(adapter.params), std::move(examples), std::move(trainer)};
}

void PrintEpoch(std::uint32_t round, std::uint32_t rounds, const TrainStats& train, const EvaluateStats& test) {
  std::printf("round %u/%u  loss %.4f  test accuracy %.4f  test loss %.4f  %.1f s  %.0f examples/s\n", round, rounds,
              train.loss, Accuracy(test), MeanLoss(test), train.seconds,
              static_cast<double>(train.examples) / std::max(train.seconds, 1e-9));
  std::fflush(stdout);
}

}  // namespace

Status RunTrain(const TrainOptions& options) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(options.run_yaml, options.set));
  ASSIGN_OR_RETURN(const RunSpec run, TranslateRun(loaded.config));
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.compute.base));
  RETURN_IF_ERROR(CheckBaseIsRuns(base, run));
  ASSIGN_OR_RETURN(const auto train, ReadExamples(options.data, run.problem, base.tokenizer, /*need_labels=*/true));
  ASSIGN_OR_RETURN(const auto test, ReadExamples(options.eval_data, run.problem, base.tokenizer, /*need_labels=*/true));
  UseThreads(options.compute.threads);
  ASSIGN_OR_RETURN(auto model, LoadRunBase(base, run));
  ASSIGN_OR_RETURN(const auto layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const auto trainer, LocalTrainer::Make(std::move(model), run, layout));

  ParamVector params = ParamVector::Initial(layout, run.seed);
  const std::uint32_t rounds = run.total_rounds();
  TrainRequest request;
  request.client = "centralised";
  request.keep_optimizer = true;
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    request.round = round;
    request.learning_rate = LearningRateAt(run.train, round, rounds);
    ASSIGN_OR_RETURN(const TrainStats stats, trainer->TrainRound(params, train, request));
    ASSIGN_OR_RETURN(const EvaluateStats counts, trainer->Evaluate(params, test));
    PrintEpoch(round, rounds, stats, counts);
  }
  RETURN_IF_ERROR(ExportAdapter(run, params, options.out, {{"fedpeft.run", run.name}}));
  std::printf("adapter written to %s\n", options.out.c_str());
  return OkStatus();
}

Status RunEvaluate(const AdapterOptions& options) {
  ASSIGN_OR_RETURN(const LoadedAdapter adapter, LoadAdapter(options, /*need_labels=*/true));
  ASSIGN_OR_RETURN(const EvaluateStats stats, adapter.trainer->Evaluate(adapter.params, adapter.examples));
  if (options.json) {
    const nlohmann::ordered_json result = {{"examples", stats.examples},
                                           {"correct", stats.correct},
                                           {"accuracy", Accuracy(stats)},
                                           {"loss", MeanLoss(stats)},
                                           {"seconds", stats.seconds}};
    std::puts(result.dump().c_str());
  } else {
    std::printf("accuracy %.4f  loss %.4f  (%lld of %lld right, %.1f s)\n", Accuracy(stats), MeanLoss(stats),
                static_cast<long long>(stats.correct), static_cast<long long>(stats.examples), stats.seconds);
  }
  return OkStatus();
}

Status RunPredict(const AdapterOptions& options) {
  ASSIGN_OR_RETURN(const LoadedAdapter adapter, LoadAdapter(options, /*need_labels=*/false));
  ASSIGN_OR_RETURN(const Predictions found, adapter.trainer->Predict(adapter.params, adapter.examples));
  const auto labels = static_cast<std::size_t>(found.labels);
  for (std::size_t row = 0; row < adapter.examples.size(); ++row) {
    const std::span<const float> p = std::span(found.probabilities).subspan(row * labels, labels);
    const auto best = static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
    const std::string& label = adapter.run.problem.labels[best];
    if (options.json) {
      nlohmann::ordered_json line = {{"row", row + 1}, {"label", label}, {"probability", p[best]}};
      for (std::size_t i = 0; i < labels; ++i) line["probabilities"][adapter.run.problem.labels[i]] = p[i];
      std::puts(line.dump().c_str());
    } else {
      std::printf("%s\t%.4f\n", label.c_str(), static_cast<double>(p[best]));
    }
  }
  return OkStatus();
}

}  // namespace fedpeft::client
