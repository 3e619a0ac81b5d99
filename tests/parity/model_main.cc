// The C++ side of the parity scripts of models and methods. Each line of standard input is a case, BASE_FOLDER
// WORK_FOLDER; its answer is a line of standard output, `ok` or why not. A case reads run.yaml (what is learned, on
// which base, by which method), request.json (the batches) and params.safetensors from its work folder and writes, of
// the first batch, logits, hidden states, scores of a language-model head and gradients to out.safetensors, and the
// losses of one AdamW step a batch to losses.json. With "examples" in the request, of a classifier, also the gradients
// of the first batch's single examples, from one pass: `examples.` and the tensor's name, [B, …].
#include <torch/torch.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <sstream>

#include "peft/core/files.h"
#include "peft/io/json.h"
#include "peft/io/safetensors.h"
#include "peft/method/classifier.h"
#include "peft/method/hook.h"
#include "peft/method/language_model.h"
#include "peft/method/lora.h"
#include "peft/method/optimizer.h"
#include "peft/method/rank_scores.h"
#include "peft/model/load.h"
#include "peft/plan/prompt_start.h"
#include "tests/parity/read_run.h"

namespace fedpeft {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 28;

struct Request {
  PeftPlan plan;
  AdamWConfig adamw;
  double learning_rate = 0;
  nlohmann::json batches;
  bool examples = false;
};

Result<Request> ReadRequest(const std::string& base_folder, const std::string& folder, const BaseShape& shape) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(JoinPath(folder, "request.json"), kMaxBytes));
  ASSIGN_OR_RETURN(nlohmann::json json, ParseJsonObject(text));
  Request request;
  ASSIGN_OR_RETURN(const RunSpec run, ReadRunSpec(JoinPath(folder, "run.yaml")));
  if (run.plan.base != shape) return InvalidArgument("run.yaml: the base is not that of the folder");
  request.plan = run.plan;
  ASSIGN_OR_RETURN(const ModelFolder base, ModelFolder::Open(base_folder));
  RETURN_IF_ERROR(ResolvePrompt(base, /*hash=*/{}, request.plan));
  request.adamw = {run.train.beta1, run.train.beta2, run.train.epsilon, run.train.weight_decay};
  request.learning_rate = run.train.learning_rate;
  request.batches = json.at("batches");
  request.examples = json.value("examples", false);
  return request;
}

Result<PackedBatch> ReadBatch(const nlohmann::json& json, const SequenceLimits& limits, const Lead& lead) {
  const auto ids = json.at("ids").get<std::vector<std::vector<std::int32_t>>>();
  const auto types = json.at("types").get<std::vector<std::vector<std::int32_t>>>();
  std::vector<TokenSequence> sequences;
  for (std::size_t i = 0; i < ids.size(); ++i) sequences.push_back({ids[i], types[i]});
  return Pack(sequences, limits, lead);
}

Status ReadParams(const std::string& path, ParamVector& params) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Read(path, kMaxBytes));
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!IsTrained(specs[i].role)) continue;
    const auto found = file.tensors().find(specs[i].name);
    if (found == file.tensors().end()) return InvalidArgument(path + ": has no " + specs[i].name);
    RETURN_IF_ERROR(CheckShape(found->second, specs[i].shape));
    RETURN_IF_ERROR(CopyFloats(found->second, params.tensor(i)));
  }
  return OkStatus();
}

/// Rows of packed tokens, sequence after sequence in the caller's order.
torch::Tensor InCallersOrder(const torch::Tensor& rows, const PackedBatch& batch) {
  std::vector<torch::Tensor> sequences;
  for (std::int64_t i = 0; i < batch.rank.size(0); ++i) {
    const std::int64_t at = batch.rank[i].item<std::int64_t>();
    const std::int64_t first = batch.first_rows[at].item<std::int64_t>();
    sequences.push_back(rows.slice(0, first, batch.last_rows[at].item<std::int64_t>() + 1));
  }
  return torch::cat(sequences);
}

/// What the first batch gives, by name.
using Outputs = std::map<std::string, torch::Tensor>;

Outputs TokenOutputs(const BaseModel& base, const SiteHook& hook, const PackedBatch& batch) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor hidden = InCallersOrder(base.Hidden(batch, hook, {}), batch);
  Outputs outputs = {{"hidden", hidden.contiguous()}};
  if (base.has_language_head()) outputs["scores"] = base.LanguageLogits(hidden, hook).contiguous();
  return outputs;
}

/// The logits of a batch, sequence or predicting row after the other, and what they ought to say.
struct Answers {
  torch::Tensor logits;
  torch::Tensor labels;
};

Answers Answer(const BaseModel& base, const Request& request, const ParamLayout& layout, const BoundParams& bound,
               const PackedBatch& batch, const nlohmann::json& json) {
  if (request.plan.labels > 0) {
    return {PeftClassifier(base, request.plan, layout, bound).Logits(batch),
            torch::tensor(json.at("labels").get<std::vector<std::int64_t>>())};
  }
  const PeftLanguageModel model(base, request.plan, layout, bound);
  const NextTokens next = NextTokensOf(batch, json.at("prompts").get<std::vector<std::int64_t>>());
  return {model.Scores(model.Hidden(batch, next.rows)), next.ids};
}

/// Of a classifier. By name [B, …].
Outputs ExampleGradients(const BaseModel& base, const Request& request, const ParamVector& params,
                         const PackedBatch& batch, const nlohmann::json& json) {
  const ParamLayout& layout = *params.layout();
  const ViewSpec view = PlanView(request.plan, layout);
  std::vector<std::int64_t> owners(static_cast<std::size_t>(batch.rank.numel()));
  std::iota(owners.begin(), owners.end(), 0);
  const BoundParams bound(params, view, std::make_shared<const ExampleRows>(ExampleRows::Of(batch, owners)));
  const Answers answers = Answer(base, request, layout, bound, batch, json);
  const torch::Tensor loss = torch::cross_entropy_loss(answers.logits, answers.labels, {}, at::Reduction::Sum);
  const torch::Tensor grads = GradientsOfExamples(loss, bound);
  Outputs outputs;
  std::int64_t column = 0;
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    if (!view.train[i]) continue;
    const std::int64_t size = bound.tensors()[i].numel() / grads.size(0);
    const torch::Tensor of_tensor = grads.narrow(1, column, size).reshape(bound.tensors()[i].sizes());
    outputs["examples." + layout.tensors()[i].name] = of_tensor.contiguous();
    column += size;
  }
  return outputs;
}

Status WriteOutputs(const std::string& path, const Outputs& outputs, const ParamVector& grads) {
  std::vector<TensorView> views;
  const auto& specs = grads.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!IsTrained(specs[i].role)) continue;
    views.push_back(FloatView(specs[i].name, specs[i].shape, grads.tensor(i)));
  }
  for (const auto& [name, values] : outputs) {
    views.push_back(FloatView(name, values.sizes().vec(),
                              {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())}));
  }
  return WriteSafetensors(path, views);
}

Status RunCase(const std::string& base_folder, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const BaseModel> base, LoadBaseModel(base_folder, BaseDtype::kFloat32));
  ASSIGN_OR_RETURN(const Request request, ReadRequest(base_folder, folder, base->shape()));
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(request.plan));
  ParamVector params(layout), grads(layout);
  RETURN_IF_ERROR(ReadParams(JoinPath(folder, "params.safetensors"), params));
  const ViewSpec view = PlanView(request.plan, *layout);
  const BoundParams bound(params, grads, view);
  const auto optimizer = MakeAdamW(request.adamw, layout->size(), TrainedRanges(*layout, view));
  std::optional<RankScores> scores;
  if (const auto* adalora = std::get_if<AdaLoraConfig>(&request.plan.method)) scores.emplace(*adalora, layout);
  nlohmann::json losses = nlohmann::json::array();
  for (const nlohmann::json& json : request.batches) {
    ASSIGN_OR_RETURN(const PackedBatch batch, ReadBatch(json, base->limits(), LeadOf(request.plan.method)));
    std::ranges::fill(grads.values(), 0.0f);
    const Answers answers = Answer(*base, request, *layout, bound, batch, json);
    torch::Tensor loss = torch::cross_entropy_loss(answers.logits, answers.labels);
    const torch::Tensor penalty = OrthogonalityLoss(request.plan, *layout, bound.tensors());
    if (penalty.defined()) loss = loss + penalty;
    loss.backward();
    if (losses.empty()) {
      Outputs outputs = TokenOutputs(*base, *MakeHook(request.plan, *layout, bound.tensors()), batch);
      outputs["logits"] = answers.logits.detach().contiguous();
      if (request.examples) outputs.merge(ExampleGradients(*base, request, params, batch, json));
      RETURN_IF_ERROR(WriteOutputs(JoinPath(folder, "out.safetensors"), outputs, grads));
    }
    losses.push_back(loss.item<double>());
    optimizer->Step(params.values(), grads.values(), request.learning_rate);
    if (scores) scores->Observe(params.values(), grads.values());
  }
  if (scores) {
    const nlohmann::json of_triplets = scores->Scores();
    RETURN_IF_ERROR(WriteFileAtomically(JoinPath(folder, "scores.json"), AsBytes(of_triplets.dump())));
  }
  return WriteFileAtomically(JoinPath(folder, "losses.json"), AsBytes(losses.dump()));
}

void RunCases() {
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string base, folder;
    words >> base >> folder;
    const Status status = RunCase(base, folder);
    std::cout << (status.ok() ? "ok" : status.message()) << std::endl;
  }
}

}  // namespace
}  // namespace fedpeft

int main() {
  try {
    fedpeft::RunCases();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
