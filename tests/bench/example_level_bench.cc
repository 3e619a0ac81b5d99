// example_level_bench BASE SETS [THREADS]: what a step under example-level privacy takes beside a plain one, asked by
// example_level_bench.py. SETS is a JSON list of batches, each a list of {"ids": […], "label": k}. Each line of
// standard input, `plain I` or `private I`, is a step of LoRA on batch I; the answer is its seconds of processor time.
// (The examples are the batch, so that all of them are drawn.)
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/trainer.h"
#include "peft/core/files.h"
#include "peft/model/load.h"

namespace fedpeft::client {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 28;

using Batches = std::vector<std::vector<Example>>;

Result<Batches> ReadBatches(const std::string& path, std::int64_t& labels) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  Batches batches;
  for (const nlohmann::json& rows : nlohmann::json::parse(text)) {
    batches.emplace_back();
    for (const nlohmann::json& row : rows) {
      Example example{row.at("ids").get<std::vector<std::int32_t>>(), {}, row.at("label").get<std::int32_t>()};
      labels = std::max<std::int64_t>(labels, example.label + 1);
      batches.back().push_back(std::move(example));
    }
  }
  return batches;
}

Status Run(const std::string& base_folder, const std::string& sets, int threads) {
  SetTrainingThreads(threads);
  ASSIGN_OR_RETURN(const std::shared_ptr<const BaseModel> base, LoadBaseModel(base_folder, BaseDtype::kFloat32));
  ASSIGN_OR_RETURN(const std::string config, ReadFile(JoinPath(base_folder, "config.json"), kMaxBytes));
  ASSIGN_OR_RETURN(const BaseConfig base_config, ReadBaseConfig(config));
  RunSpec run;
  ASSIGN_OR_RETURN(const Batches batches, ReadBatches(sets, run.plan.labels));
  run.plan.base = base_config.shape;
  run.plan.method = LoraConfig{.rank = 8, .alpha = 16, .target_modules = {"query", "value"}};
  run.train.batch_size = static_cast<int>(batches.front().size());
  run.train.epochs = 0;
  run.train.steps = 1;
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const auto plain, LocalTrainer::Make(base, run, layout));
  run.privacy.mechanism = PrivacySpec::Mechanism::kExampleLevel;
  run.privacy.noise_multiplier = 1;
  ASSIGN_OR_RETURN(const auto in_private, LocalTrainer::Make(base, run, layout));
  ParamVector params = ParamVector::Initial(layout, /*seed=*/1);
  std::size_t index = 0;
  for (std::string kind; std::cin >> kind >> index;) {
    LocalTrainer& trainer = kind == "private" ? *in_private : *plain;
    const TrainRequest request{.learning_rate = 1e-3, .round = 1, .client = "a"};
    const std::clock_t began = std::clock();
    RETURN_IF_ERROR(trainer.TrainRound(params, batches.at(index), request).status());
    std::cout << static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC << std::endl;
  }
  return OkStatus();
}

}  // namespace
}  // namespace fedpeft::client

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: example_level_bench BASE SETS [THREADS]\n");
    return 2;
  }
  const fedpeft::Status status = fedpeft::client::Run(argv[1], argv[2], argc > 3 ? std::stoi(argv[3]) : 1);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
