// training_bench JOB: what training takes, a step at a time, as training.py asks for it. JOB is a JSON file:
// {"base": folder, "method": "lora", "labels": 77, "language": false, "private": false, "threads": 2, "dtype": "auto",
// "rate": 0.001, "batches": [[{"ids": […], "label": 3}, …], …]}. Each line of standard input is a command, answered by
// a line of JSON:
//   step I      one optimiser step on batch I: {"seconds": of the clock, "cpu": of processor time, "loss": …,
//               "dtype": of our base}
//   evaluate I  the same of an evaluation
//   roof I      the matrix products of such a step alone, those with the base's weights in its format
//   roof_float32 I  the same in float32
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "client/trainer.h"
#include "peft/core/files.h"
#include "peft/model/fastest.h"
#include "peft/model/load.h"
#include "peft/plan/sites.h"

namespace fedpeft::client {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxBytes = 1 << 28;
/// fedpeft-client's default.
constexpr std::uint64_t kActivations = std::uint64_t{1} << 30;
/// Linears that read what enters a layer. Nothing is trained below the first one's.
constexpr const char* kReaders[] = {".query", ".key", ".value", ".q_proj", ".k_proj", ".v_proj"};

Result<MethodConfig> MethodOf(const std::string& name) {
  const std::map<std::string, MethodConfig> methods = {
      {"lora", LoraConfig{.rank = 8, .alpha = 16}},
      {"lora_top2", LoraConfig{.rank = 8, .alpha = 16, .layers = {4, 5}}},
      {"head", LoraConfig{.rank = 1}},
      {"adapter", BottleneckConfig{.size = 32}},
      {"prefix", PrefixConfig{.length = 16}},
      {"prompt", PromptConfig{.length = 16}},
      {"bitfit", OffsetConfig{}},
  };
  const auto found = methods.find(name);
  if (found == methods.end()) return InvalidArgument("method: got " + name + ", want one of training_bench.cc's");
  return found->second;
}

/// In the format that is named, or `auto`, as in a run: what is fastest.
Result<FastestBase> LoadBase(const std::string& folder, const std::string& dtype) {
  if (dtype == "auto") return LoadFastestBase(folder);
  FastestBase base;
  for (const BaseDtype one : {BaseDtype::kBfloat16, BaseDtype::kInt8}) {
    if (dtype == NameOf(one)) base.dtype = one;
  }
  ASSIGN_OR_RETURN(base.model, LoadBaseModel(folder, base.dtype));
  return base;
}

Example ExampleOf(const json& row, bool language) {
  Example example{row.at("ids").get<std::vector<std::int32_t>>(), {}, row.value("label", 0)};
  if (language) example.documents = {{static_cast<std::uint32_t>(example.ids.size()), 0}};
  return example;
}

class Bench {
 public:
  static Result<Bench> Make(const json& job) {
    Bench bench;
    const std::string folder = job.at("base");
    bench.language_ = job.value("language", false);
    for (const json& rows : job.at("batches")) {
      bench.batches_.emplace_back();
      for (const json& row : rows) bench.batches_.back().push_back(ExampleOf(row, bench.language_));
    }
    ASSIGN_OR_RETURN(const std::string config, ReadFile(JoinPath(folder, "config.json"), kMaxBytes));
    ASSIGN_OR_RETURN(const BaseConfig base_config, ReadBaseConfig(config));
    ASSIGN_OR_RETURN(const FastestBase base, LoadBase(folder, job.value("dtype", "auto")));
    bench.dtype_ = base.dtype;
    RunSpec run;
    bench.shape_ = run.plan.base = base_config.shape;
    ASSIGN_OR_RETURN(run.plan.method, MethodOf(job.at("method")));
    if (bench.language_) {
      run.problem.type = ProblemType::kLanguageModelling;
    } else {
      run.plan.labels = job.at("labels");
    }
    run.train.batch_size = static_cast<int>(bench.batches_.front().size());
    run.train.epochs = 0;
    run.train.steps = 1;
    if (job.value("private", false)) {
      run.privacy.mechanism = PrivacySpec::Mechanism::kExampleLevel;
      run.privacy.noise_multiplier = 1;
    }
    if (job.at("method") == "head") {
      run.schedule.emplace_back();
      run.schedule.back().views = {{.frozen = {"lora_a", "lora_b"}}};
    }
    bench.rate_ = job.at("rate");
    ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
    ASSIGN_OR_RETURN(bench.trainer_, LocalTrainer::Make(base.model, run, layout));
    bench.trainer_->KeepActivations(kActivations);
    bench.params_.emplace(ParamVector::Initial(layout, run.seed));
    return bench;
  }

  Result<json> Do(const std::string& command, std::size_t batch) {
    const std::vector<Example>& examples = batches_.at(batch);
    double loss = 0;
    const std::clock_t cpu = std::clock();
    const auto began = std::chrono::steady_clock::now();
    if (command == "step") {
      const TrainRequest request{.learning_rate = rate_, .round = 1, .client = "a", .keep_optimizer = true};
      ASSIGN_OR_RETURN(const TrainStats stats, trainer_->TrainRound(*params_, examples, request));
      loss = stats.loss;
    } else if (command == "evaluate") {
      RETURN_IF_ERROR(trainer_->Evaluate(*params_, examples).status());
    } else if (command == "roof" || command == "roof_float32") {
      Products(examples, command == "roof" ? dtype_ : BaseDtype::kFloat32);
    } else {
      return InvalidArgument("command: got " + command + ", want step, evaluate, roof or roof_float32");
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    return json{{"seconds", seconds},
                {"cpu", static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC},
                {"loss", loss},
                {"dtype", NameOf(dtype_)}};
  }

 private:
  static torch::ScalarType TypeOf(BaseDtype dtype) {
    if (dtype == BaseDtype::kFloat32) return torch::kFloat32;
    return dtype == BaseDtype::kInt8 ? torch::kInt8 : torch::kBFloat16;
  }

  /// x·Wᵀ and g·W for each linear of the base, and those of attention: what a step cannot do without.
  void Products(const std::vector<Example>& examples, BaseDtype dtype) {
    const torch::NoGradGuard constant;
    std::int64_t tokens = 0;
    for (const Example& example : examples) tokens += static_cast<std::int64_t>(example.ids.size());
    for (const auto& [path, layer, in, out] : Linears()) {
      // Of an encoder's last layer only a text's first token is read, but for keys and values.
      const bool first_only =
          !language_ && layer == shape_.num_hidden_layers - 1 && !path.ends_with("key") && !path.ends_with("value");
      const std::int64_t rows = first_only ? static_cast<std::int64_t>(examples.size()) : tokens;
      const torch::ScalarType type = layer >= 0 ? TypeOf(dtype) : torch::kFloat32;
      torch::Tensor& weight = weights_[{type, path}];
      if (!weight.defined()) weight = torch::randn({out, in}).to(type);
      const torch::Tensor x = torch::ones({rows, in}, type), g = torch::ones({rows, out}, type);
      const auto product = [&](const torch::Tensor& a, const torch::Tensor& b) {
        type == torch::kInt8 ? at::_int_mm(a, b) : a.mm(b);
      };
      product(x, weight.t());
      const bool lowest =
          layer == 0 && std::ranges::any_of(kReaders, [&](const char* end) { return path.ends_with(end); });
      if (!lowest) product(g, weight);
    }
    std::map<std::int64_t, std::int64_t> texts;  // by length
    for (const Example& example : examples) ++texts[static_cast<std::int64_t>(example.ids.size())];
    for (const auto& [length, count] : texts) AttentionProducts(length, count);
  }
  /// Scores and sums of values of `count` texts, and the four products of their gradients, in all layers. A causal
  /// query needs half of the keys; of an encoder's last layer only the first token's query is there.
  void AttentionProducts(std::int64_t length, std::int64_t count) {
    const std::int64_t width = shape_.head_width();
    for (std::int64_t layer = 0; layer < shape_.num_hidden_layers; ++layer) {
      const bool first_only = !language_ && layer == shape_.num_hidden_layers - 1;
      const std::int64_t keys = language_ ? (length + 1) / 2 : length, queries = first_only ? 1 : length;
      const std::int64_t heads = count * shape_.num_attention_heads;
      const torch::Tensor q = torch::ones({heads, queries, width}), k = torch::ones({heads, keys, width});
      const torch::Tensor p = q.bmm(k.transpose(1, 2));  // and as large: its gradient
      p.bmm(k);
      q.bmm(k.transpose(1, 2));
      p.transpose(1, 2).bmm(q);
      p.bmm(k);
      if (layer > 0) p.transpose(1, 2).bmm(q);
    }
  }
  struct Linear {
    std::string path;
    std::int64_t layer, in, out;
  };
  std::vector<Linear> Linears() const {
    std::vector<Linear> linears;
    for (const Site& site : SitesOf(shape_).linears) {
      if (site.layer >= 0) linears.push_back({site.path, site.layer, site.in, site.out});
    }
    if (language_) linears.push_back({"head", -1, shape_.hidden_size, shape_.vocab_size});
    return linears;
  }

  bool language_ = false;
  BaseShape shape_;
  std::vector<std::vector<Example>> batches_;
  std::unique_ptr<LocalTrainer> trainer_;
  std::optional<ParamVector> params_;
  double rate_ = 0;
  BaseDtype dtype_ = BaseDtype::kFloat32;
  std::map<std::pair<torch::ScalarType, std::string>, torch::Tensor> weights_;
};

Status Run(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  const json job = json::parse(text);
  SetTrainingThreads(job.value("threads", 1));
  ASSIGN_OR_RETURN(Bench bench, Bench::Make(job));
  std::string command;
  for (std::size_t batch = 0; std::cin >> command >> batch;) {
    ASSIGN_OR_RETURN(const json answer, bench.Do(command, batch));
    std::cout << answer.dump() << std::endl;
  }
  return OkStatus();
}

}  // namespace
}  // namespace fedpeft::client

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: training_bench JOB.json\n");
    return 2;
  }
  const fedpeft::Status status = fedpeft::client::Run(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.ok() ? 0 : 1;
}
