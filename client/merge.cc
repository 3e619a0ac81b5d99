// `fedpeft-client merge`: base and adapter as one model folder, which transformers loads by itself.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>

#include "client/base.h"
#include "client/commands.h"
#include "configs/adapter.h"
#include "peft/core/files.h"
#include "peft/io/model_folder.h"
#include "peft/params/half.h"
#include "peft/plan/merge.h"

namespace fedpeft::client {

namespace {

/// Names that hold weights, in whatever format: they are written anew, or stale.
bool HoldsWeights(const std::string& name) {
  constexpr const char* kEndings[] = {".safetensors", ".index.json", ".bin",  ".pt",  ".pth",
                                      ".h5",          ".msgpack",    ".onnx", ".gguf"};
  return std::any_of(std::begin(kEndings), std::end(kEndings), [&](const char* e) { return name.ends_with(e); });
}

/// The tokenizer's files, generation_config.json and whatever else describes the base.
Status CopyOthers(const std::string& from, const std::string& to) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(from));
  for (const std::string& name : names) {
    if (HoldsWeights(name) || name == "config.json" || name.starts_with(".")) continue;
    if (!std::filesystem::is_regular_file(JoinPath(from, name))) continue;
    ASSIGN_OR_RETURN(const std::string content, ReadFile(JoinPath(from, name), kMostBytes));
    RETURN_IF_ERROR(WriteFileAtomically(JoinPath(to, name), AsBytes(content)));
  }
  return OkStatus();
}

std::string ClassOf(const std::string& model_type, bool language) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"bert", "Bert"},   {"roberta", "Roberta"}, {"distilbert", "DistilBert"}, {"gpt2", "GPT2"},
      {"llama", "Llama"}, {"mistral", "Mistral"}, {"qwen2", "Qwen2"},           {"qwen3", "Qwen3"}};
  const auto found =
      std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& row) { return row.first == model_type; });
  FEDPEFT_CHECK(found != std::end(kNames));
  if (!language) return std::string(found->second) + "ForSequenceClassification";
  return std::string(found->second) + (model_type == "gpt2" ? "LMHeadModel" : "ForCausalLM");
}

/// The base's config.json, for the task's model.
Result<std::string> ConfigOf(const ModelFolder& base, const RunSpec& run) {
  nlohmann::ordered_json config = nlohmann::ordered_json::parse(base.config_json());
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  config["architectures"] = {ClassOf(base.model_type(), language)};
  if (language) return config.dump(2) + "\n";
  const bool regression = run.problem.type == ProblemType::kRegression;
  config["problem_type"] = regression ? "regression" : "single_label_classification";
  const std::vector<std::string> labels = regression ? std::vector<std::string>{"LABEL_0"} : run.problem.labels;
  config["id2label"] = nlohmann::ordered_json::object();
  config["label2id"] = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    config["id2label"][std::to_string(i)] = labels[i];
    config["label2id"][labels[i]] = i;
  }
  return config.dump(2) + "\n";
}

/// The merged tensors in shards, each written as soon as it is full.
class ShardWriter {
 public:
  ShardWriter(std::string folder, std::uint64_t most_bytes) : folder_(std::move(folder)), most_bytes_(most_bytes) {}

  /// `owned`, unless empty, holds the view's bytes.
  Status Add(TensorView tensor, Bytes owned) {
    if (bytes_ > 0 && bytes_ + tensor.data.size() > most_bytes_) RETURN_IF_ERROR(Flush());
    bytes_ += tensor.data.size();
    total_ += tensor.data.size();
    owned_.push_back(std::move(owned));
    tensors_.push_back(std::move(tensor));
    return OkStatus();
  }

  /// Names the files, whose number is known only now.
  Status Finish() {
    RETURN_IF_ERROR(Flush());
    nlohmann::ordered_json map = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      const std::string name = NameOf(i);
      std::error_code error;
      std::filesystem::rename(JoinPath(folder_, PartOf(i)), JoinPath(folder_, name), error);
      if (error) return Internal(folder_ + ": " + name + ": " + error.message());
      for (const std::string& tensor : shards_[i]) map[tensor] = name;
    }
    if (shards_.size() == 1) return OkStatus();
    const nlohmann::ordered_json index = {{"metadata", {{"total_size", total_}}}, {"weight_map", map}};
    return WriteFileAtomically(JoinPath(folder_, "model.safetensors.index.json"), AsBytes(index.dump(2) + "\n"));
  }

  std::size_t shards() const { return shards_.size(); }

 private:
  static std::string PartOf(std::size_t i) { return ".part-" + std::to_string(i + 1) + ".safetensors"; }
  std::string NameOf(std::size_t i) const {
    if (shards_.size() == 1) return "model.safetensors";
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards_.size());
    return name;
  }
  Status Flush() {
    if (tensors_.empty()) return OkStatus();
    RETURN_IF_ERROR(WriteSafetensors(JoinPath(folder_, PartOf(shards_.size())), tensors_));
    std::vector<std::string> names;
    for (const TensorView& tensor : tensors_) names.push_back(tensor.name);
    shards_.push_back(std::move(names));
    std::fprintf(stderr, "merge: %.1f GB written\n", static_cast<double>(total_) / 1e9);
    tensors_.clear();
    owned_.clear();
    bytes_ = 0;
    return OkStatus();
  }

  std::string folder_;
  std::uint64_t most_bytes_, bytes_ = 0, total_ = 0;
  std::vector<TensorView> tensors_;
  std::vector<Bytes> owned_;
  std::vector<std::vector<std::string>> shards_;
};

/// The tensor's values after the merge, in its own dtype.
Result<Bytes> Merged(const TensorView& tensor, const std::string& name, const Merger& merger) {
  std::vector<float> values(static_cast<std::size_t>(
      std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::int64_t{1}, std::multiplies<>())));
  RETURN_IF_ERROR(CopyFloats(tensor, values));
  merger.Apply(name, values);
  Bytes bytes(tensor.data.size());
  switch (tensor.dtype) {
    case Dtype::kF32:
      std::memcpy(bytes.data(), values.data(), bytes.size());
      return bytes;
    case Dtype::kF16:
      FloatsToHalves(values, bytes);
      return bytes;
    case Dtype::kBF16:
      FloatsToBfloat16s(values, bytes);
      return bytes;
    default:
      return Unimplemented("tensor " + name + ": has dtype " + std::string(DtypeName(tensor.dtype)) +
                           ", want F32, F16 or BF16");
  }
}

Status WriteWeights(const ModelFolder& base, const ImportedAdapter& adapter, const Merger& merger,
                    ShardWriter& writer) {
  const bool language = adapter.run.problem.type == ProblemType::kLanguageModelling;
  for (const auto& [name, view] : base.tensors()) {
    if (!language && IsTaskHead(name)) continue;  // of another task
    TensorView tensor = view;
    tensor.name = name;
    Bytes bytes;
    if (merger.Changes(name)) {
      ASSIGN_OR_RETURN(bytes, Merged(view, name, merger));
      tensor.data = bytes;
    }
    RETURN_IF_ERROR(writer.Add(std::move(tensor), std::move(bytes)));
  }
  const auto& specs = adapter.params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role != Role::kHead) continue;
    const std::string name = specs[i].site + specs[i].name.substr(specs[i].name.rfind('.'));
    RETURN_IF_ERROR(writer.Add(FloatView(name, specs[i].shape, adapter.params.tensor(i)), {}));
  }
  return writer.Finish();
}

}  // namespace

Status RunMerge(const MergeOptions& options) {
  if (PathExists(JoinPath(options.out, "config.json"))) {
    return FailedPrecondition(options.out + ": holds a model already (give a new folder)");
  }
  ASSIGN_OR_RETURN(const BaseInfo info, OpenBase(options.base));
  ASSIGN_OR_RETURN(ImportedAdapter adapter, ImportAdapter(options.adapter, info.shape, options.base));
  RETURN_IF_ERROR(CheckBaseIsAdapters(info, adapter.run).Annotate(options.adapter));
  const Result<Merger> merger = Merger::Make(adapter.run.plan, adapter.params);
  if (!merger.ok()) return merger.status().Annotate(options.adapter);
  ASSIGN_OR_RETURN(const ModelFolder base, ModelFolder::Open(options.base));
  RETURN_IF_ERROR(MakeFolders(options.out));
  ShardWriter writer(options.out, options.shard_mib << 20);
  RETURN_IF_ERROR(WriteWeights(base, adapter, *merger, writer));
  RETURN_IF_ERROR(CopyOthers(options.base, options.out));
  // Last: a folder with a configuration is complete.
  ASSIGN_OR_RETURN(const std::string config, ConfigOf(base, adapter.run));
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(options.out, "config.json"), AsBytes(config)));
  std::printf("model written to %s\n", options.out.c_str());
  return OkStatus();
}

}  // namespace fedpeft::client
