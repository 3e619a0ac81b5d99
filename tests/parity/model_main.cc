// The C++ side of model_parity.py: model_main BASE_FOLDER WORK_FOLDER reads request.json and params.safetensors from
// the work folder and writes logits and gradients of the first batch to out.safetensors and the losses of one AdamW
// step a batch to losses.json.
#include <torch/torch.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "peft/core/files.h"
#include "peft/io/json.h"
#include "peft/io/safetensors.h"
#include "peft/method/classifier.h"
#include "peft/method/optimizer.h"
#include "peft/model/load.h"

namespace fedpeft {
namespace {

constexpr std::uint64_t kMaxBytes = 1 << 28;

struct Request {
  PeftPlan plan;
  AdamWConfig adamw;
  double learning_rate = 0;
  nlohmann::json batches;
};

Result<Request> ReadRequest(const std::string& folder, const BaseShape& shape) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(JoinPath(folder, "request.json"), kMaxBytes));
  ASSIGN_OR_RETURN(nlohmann::json json, ParseJsonObject(text));
  Request request;
  request.plan.base = shape;
  request.plan.lora = {json.at("rank"), json.at("alpha"), 0, json.at("targets")};
  request.plan.labels = json.at("labels");
  request.adamw = {0.9, 0.999, 1e-8, json.at("weight_decay")};
  request.learning_rate = json.at("learning_rate");
  request.batches = json.at("batches");
  return request;
}

Result<PackedBatch> ReadBatch(const nlohmann::json& json, const SequenceLimits& limits) {
  const auto ids = json.at("ids").get<std::vector<std::vector<std::int32_t>>>();
  const auto types = json.at("types").get<std::vector<std::vector<std::int32_t>>>();
  std::vector<TokenSequence> sequences;
  for (std::size_t i = 0; i < ids.size(); ++i) sequences.push_back({ids[i], types[i]});
  return Pack(sequences, limits);
}

Status ReadParams(const std::string& path, ParamVector& params) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Read(path, kMaxBytes));
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto found = file.tensors().find(specs[i].name);
    if (found == file.tensors().end()) return InvalidArgument(path + ": has no " + specs[i].name);
    RETURN_IF_ERROR(CheckShape(found->second, specs[i].shape));
    RETURN_IF_ERROR(CopyFloats(found->second, params.tensor(i)));
  }
  return OkStatus();
}

Status WriteOut(const std::string& path, const torch::Tensor& logits, const ParamVector& grads) {
  std::vector<TensorView> views;
  const auto& specs = grads.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    views.push_back(FloatView(specs[i].name, specs[i].shape, grads.tensor(i)));
  }
  const torch::Tensor values = logits.detach().contiguous();
  views.push_back(FloatView("logits", values.sizes().vec(),
                            {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())}));
  return WriteSafetensors(path, views);
}

Status Run(const std::string& base_folder, const std::string& folder) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const BaseModel> base, LoadBaseModel(base_folder, BaseDtype::kFloat32));
  ASSIGN_OR_RETURN(const Request request, ReadRequest(folder, base->shape()));
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(request.plan));
  ParamVector params(layout), grads(layout);
  RETURN_IF_ERROR(ReadParams(JoinPath(folder, "params.safetensors"), params));
  const ViewSpec view = PlanView(request.plan, *layout);
  const BoundParams bound(params, grads, view);
  const PeftClassifier model(*base, request.plan, *layout, bound);
  const auto optimizer = MakeAdamW(request.adamw, layout->size(), TrainedRanges(*layout, view));
  nlohmann::json losses = nlohmann::json::array();
  for (const nlohmann::json& json : request.batches) {
    ASSIGN_OR_RETURN(const PackedBatch batch, ReadBatch(json, base->limits()));
    std::ranges::fill(grads.values(), 0.0f);
    const torch::Tensor logits = model.Logits(batch);
    const auto labels = json.at("labels").get<std::vector<std::int64_t>>();
    const torch::Tensor loss = torch::cross_entropy_loss(logits, torch::tensor(labels));
    loss.backward();
    if (losses.empty()) RETURN_IF_ERROR(WriteOut(JoinPath(folder, "out.safetensors"), logits, grads));
    losses.push_back(loss.item<double>());
    optimizer->Step(params.values(), grads.values(), request.learning_rate);
  }
  return WriteFileAtomically(JoinPath(folder, "losses.json"), AsBytes(losses.dump()));
}

}  // namespace
}  // namespace fedpeft

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: model_main BASE_FOLDER WORK_FOLDER\n");
    return 2;
  }
  try {
    const fedpeft::Status status = fedpeft::Run(argv[1], argv[2]);
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return status.ok() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
