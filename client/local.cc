// The verbs of fedpeft-client that need no coordinator: train, evaluate, predict.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "client/base.h"
#include "client/commands.h"
#include "client/compute.h"
#include "client/dataset.h"
#include "client/documents.h"
#include "configs/adapter.h"
#include "configs/adapters_library.h"
#include "configs/loader.h"
#include "peft/io/generation_config.h"
#include "peft/metrics/metrics.h"
#include "peft/plan/prompt_start.h"
#include "peft/plan/ranks.h"
#include "peft/text/stream_decoder.h"

namespace fedpeft::client {

namespace {

Result<std::vector<Example>> ReadExamples(const std::string& path, const ProblemSpec& problem,
                                          const Tokenizer& tokenizer, bool need_labels) {
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(path, problem));
  Result<std::vector<Example>> examples = MakeExamples(problem, tokenizer, table, need_labels);
  return examples.ok() ? std::move(examples) : examples.status().Annotate(path);
}

/// `accuracy 0.9012  loss 0.3456`: what the evaluation is known by, then the others.
std::string MetricsText(const Totals& totals, const char* before) {
  const Metric main = MainMetric(totals);
  std::string text;
  const auto add = [&](Metric metric, double value) {
    char number[32];
    std::snprintf(number, sizeof number, "%.4f", value);
    text.append(text.empty() ? "" : "  ").append(before).append(MetricName(metric)).append(" ").append(number);
  };
  if (const auto value = MetricOf(main, totals)) add(main, *value);
  for (const auto& [metric, value] : MetricsOf(totals)) {
    if (metric != main) add(metric, value);
  }
  return text;
}

/// Everything that evaluate and predict need of an adapter folder.
struct LocalAdapter {
  RunSpec run;
  ParamVector params;
  Tokenizer tokenizer;
  std::unique_ptr<LocalTrainer> trainer;
};

/// Takes the columns that the command line names.
Status UseColumns(const AdapterOptions& options, ProblemSpec& problem) {
  if (problem.type == ProblemType::kLanguageModelling) {
    const bool any = !options.text_column.empty() || !options.text_pair_column.empty() || !options.label_column.empty();
    if (!any) return OkStatus();
    return InvalidArgument("column options: got some for a language model, whose template says \"" + problem.prompt +
                           problem.response + "\" (name the columns of the data as there)");
  }
  if (!options.text_column.empty()) problem.text_column = options.text_column;
  if (!options.text_pair_column.empty()) problem.text_pair_column = options.text_pair_column;
  if (!options.label_column.empty()) problem.label_column = options.label_column;
  return OkStatus();
}

Result<LocalAdapter> LoadLocalAdapter(const AdapterOptions& options) {
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.compute.base));
  ASSIGN_OR_RETURN(ImportedAdapter adapter, ImportAdapter(options.adapter, base.shape, options.compute.base));
  RunSpec& run = adapter.run;
  RETURN_IF_ERROR(CheckBaseIsAdapters(base, run).Annotate(options.adapter));
  RETURN_IF_ERROR(UseColumns(options, run.problem));
  UseThreads(options.compute.threads);
  ASSIGN_OR_RETURN(auto model, LoadRunBase(base, run));
  ASSIGN_OR_RETURN(auto trainer, LocalTrainer::Make(std::move(model), run, adapter.params.layout()));
  return LocalAdapter{std::move(run), std::move(adapter.params), base.tokenizer, std::move(trainer)};
}

void PrintEpoch(std::uint32_t round, std::uint32_t rounds, const TrainStats& train, const EvaluateStats& test) {
  std::printf("round %u/%u  loss %.4f  %s  %.1f s  %.0f examples/s\n", round, rounds, train.loss,
              MetricsText(test.totals, "test ").c_str(), train.seconds,
              static_cast<double>(train.examples) / std::max(train.seconds, 1e-9));
  std::fflush(stdout);
}

/// A line for one text, of a classifier's probabilities.
void PrintClass(const std::vector<std::string>& labels, std::span<const float> p, std::size_t row, bool json) {
  const auto best = static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin());
  if (!json) {
    std::printf("%s\t%.4f\n", labels[best].c_str(), static_cast<double>(p[best]));
    return;
  }
  nlohmann::ordered_json line = {{"row", row + 1}, {"label", labels[best]}, {"probability", p[best]}};
  for (std::size_t i = 0; i < labels.size(); ++i) line["probabilities"][labels[i]] = p[i];
  std::puts(line.dump().c_str());
}

void PrintValue(float value, std::size_t row, bool json) {
  if (json) {
    std::puts(nlohmann::ordered_json{{"row", row + 1}, {"value", value}}.dump().c_str());
  } else {
    std::printf("%.6g\n", static_cast<double>(value));
  }
}

/// What follows a prompt: the likeliest token, one after another.
Result<nlohmann::ordered_json> Answer(const LocalAdapter& adapter, const std::string& prompt,
                                      const GenerateOptions& options) {
  ASSIGN_OR_RETURN(const Encoding encoded, adapter.tokenizer.Encode(prompt));
  ASSIGN_OR_RETURN(const Generated generated, adapter.trainer->Continue(adapter.params, encoded.ids, options));
  text::StreamDecoder decoder(adapter.tokenizer, encoded.ids);
  std::string text;
  for (const std::int32_t id : generated.ids) text += decoder.Add(id);
  text += decoder.Finish();
  return nlohmann::ordered_json{{"text", text}, {"stopped_by", StopReasonName(generated.reason)}};
}

Status PredictTexts(const LocalAdapter& adapter, const AdapterOptions& options) {
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(options.data, adapter.run.problem));
  const Result<std::vector<std::string>> prompts = MakePrompts(adapter.run.problem, table);
  if (!prompts.ok()) return prompts.status().Annotate(options.data);
  GenerateOptions generate;
  generate.max_new_tokens = options.max_new_tokens;
  ASSIGN_OR_RETURN(generate.end_ids, ReadEndIds(options.compute.base));
  for (std::size_t row = 0; row < prompts->size(); ++row) {
    const Result<nlohmann::ordered_json> answer = Answer(adapter, (*prompts)[row], generate);
    if (!answer.ok()) return answer.status().Annotate(options.data + ": row " + std::to_string(row + 1));
    nlohmann::ordered_json line = {{"row", row + 1}};
    line.update(*answer);
    std::puts((options.json ? line : line["text"]).dump().c_str());
    std::fflush(stdout);
  }
  return OkStatus();
}

}  // namespace

Status RunTrain(const TrainOptions& options) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(options.run_yaml, options.set));
  ASSIGN_OR_RETURN(RunSpec run, TranslateRun(loaded.config));
  const bool for_library = options.format == "adapters";
  if (for_library) RETURN_IF_ERROR(CheckLibraryExport(run.plan).Annotate("--format"));
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.compute.base));
  RETURN_IF_ERROR(CheckBaseIsRuns(base, run));
  RETURN_IF_ERROR(ResolvePrompt(base.tokenizer, run.plan));
  ASSIGN_OR_RETURN(const auto train, ReadExamples(options.data, run.problem, base.tokenizer, /*need_labels=*/true));
  ASSIGN_OR_RETURN(const auto test, ReadExamples(options.eval_data, run.problem, base.tokenizer, /*need_labels=*/true));
  UseThreads(options.compute.threads);
  ASSIGN_OR_RETURN(auto model, LoadRunBase(base, run));
  ASSIGN_OR_RETURN(const auto layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const auto trainer, LocalTrainer::Make(std::move(model), run, layout));
  trainer->KeepActivations(options.compute.activations_mib << 20);

  ParamVector params = ParamVector::Initial(layout, run.seed);
  const std::uint32_t rounds = run.total_rounds();
  TrainRequest request;
  request.client = "centralised";
  request.keep_optimizer = true;
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    request.round = round;
    request.learning_rate = LearningRateAt(run.train, round, rounds);
    ASSIGN_OR_RETURN(const TrainStats stats, trainer->TrainRound(params, train, request));
    AllocateRanks(run.plan.method, round, rounds, params);
    ASSIGN_OR_RETURN(const EvaluateStats counts, trainer->Evaluate(params, test));
    PrintEpoch(round, rounds, stats, counts);
  }
  const StringMap provenance = {{"fedpeft.run", run.name}};
  if (for_library) {
    RETURN_IF_ERROR(ExportLibraryAdapter(run, params, options.out, provenance));
  } else {
    RETURN_IF_ERROR(ExportAdapter(run, params, options.out, options.compute.base, provenance));
  }
  std::printf("adapter written to %s\n", options.out.c_str());
  return OkStatus();
}

Status RunEvaluate(const AdapterOptions& options) {
  ASSIGN_OR_RETURN(const LocalAdapter adapter, LoadLocalAdapter(options));
  ASSIGN_OR_RETURN(const std::vector<Example> examples,
                   ReadExamples(options.data, adapter.run.problem, adapter.tokenizer, /*need_labels=*/true));
  ASSIGN_OR_RETURN(const EvaluateStats stats, adapter.trainer->Evaluate(adapter.params, examples));
  if (options.json) {
    nlohmann::ordered_json result = {{"examples", stats.totals.examples()}};
    if (stats.totals.Has(sum::kCorrect)) result["correct"] = stats.totals.Get(sum::kCorrect);
    for (const auto& [metric, value] : MetricsOf(stats.totals)) result[std::string(MetricName(metric))] = value;
    result["seconds"] = stats.seconds;
    std::puts(result.dump().c_str());
  } else {
    std::printf("%s  (%llu examples, %.1f s)\n", MetricsText(stats.totals, "").c_str(),
                static_cast<unsigned long long>(stats.totals.examples()), stats.seconds);
  }
  return OkStatus();
}

Status RunPredict(const AdapterOptions& options) {
  ASSIGN_OR_RETURN(const LocalAdapter adapter, LoadLocalAdapter(options));
  if (adapter.run.problem.type == ProblemType::kLanguageModelling) return PredictTexts(adapter, options);
  ASSIGN_OR_RETURN(const std::vector<Example> examples,
                   ReadExamples(options.data, adapter.run.problem, adapter.tokenizer, /*need_labels=*/false));
  ASSIGN_OR_RETURN(const Predictions found, adapter.trainer->Predict(adapter.params, examples));
  const auto outputs = static_cast<std::size_t>(found.outputs);
  for (std::size_t row = 0; row < examples.size(); ++row) {
    const std::span<const float> values = std::span(found.values).subspan(row * outputs, outputs);
    if (adapter.run.problem.type == ProblemType::kRegression) {
      PrintValue(values[0], row, options.json);
    } else {
      PrintClass(adapter.run.problem.labels, values, row, options.json);
    }
  }
  return OkStatus();
}

}  // namespace fedpeft::client
