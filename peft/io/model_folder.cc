#include "peft/io/model_folder.h"

#include <algorithm>
#include <array>
#include <utility>

#include "peft/core/files.h"
#include "peft/io/json.h"
#include "peft/io/quote.h"
#include "peft/params/layout.h"

namespace fedpeft {

namespace {

constexpr std::uint64_t kMostIndexBytes = 16 << 20;
constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

/// The prefix that a task model gives its base's tensors; empty for what has none.
std::string_view BasePrefix(std::string_view model_type) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kPrefixes = {{{"bert", "bert."},
                                                                                       {"roberta", "roberta."},
                                                                                       {"distilbert", "distilbert."},
                                                                                       {"gpt2", "transformer."},
                                                                                       {"llama", "model."},
                                                                                       {"mistral", "model."},
                                                                                       {"qwen2", "model."},
                                                                                       {"qwen3", "model."}}};
  for (const auto& [type, prefix] : kPrefixes) {
    if (type == model_type) return prefix;
  }
  return "";
}

/// Constants that old versions of transformers saved beside the weights.
bool IsBuffer(std::string_view name) {
  constexpr std::array<std::string_view, 4> kBuffers = {"position_ids", "attn.bias", "attn.masked_bias",
                                                        "rotary_emb.inv_freq"};
  return std::any_of(kBuffers.begin(), kBuffers.end(), [name](std::string_view buffer) {
    return name.ends_with(buffer) && (name.size() == buffer.size() || name[name.size() - buffer.size() - 1] == '.');
  });
}

std::string ModernName(std::string name) {
  if (name.ends_with(".gamma")) return name.replace(name.size() - 5, 5, "weight");
  if (name.ends_with(".beta")) return name.replace(name.size() - 4, 4, "bias");
  return name;
}

/// False for the keys of config.json that only describe: where the file came from, what a head on top of it is called,
/// what a forward pass returns, how text is generated. `torch_dtype` is a hint; the weights' own dtypes are hashed.
bool IsArithmetic(std::string_view key) {
  constexpr std::array<std::string_view, 18> kDescriptive = {"_commit_hash",
                                                             "_name_or_path",
                                                             "architectures",
                                                             "dtype",
                                                             "finetuning_task",
                                                             "gradient_checkpointing",
                                                             "id2label",
                                                             "initializer_factor",
                                                             "initializer_range",
                                                             "label2id",
                                                             "num_labels",
                                                             "output_attentions",
                                                             "output_hidden_states",
                                                             "problem_type",
                                                             "return_dict",
                                                             "torch_dtype",
                                                             "transformers_version",
                                                             "use_cache"};
  return std::find(kDescriptive.begin(), kDescriptive.end(), key) == kDescriptive.end();
}

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos &&
         name.find("..") == std::string_view::npos;
}

}  // namespace

bool IsTaskHead(std::string_view name) {
  constexpr std::array<std::string_view, 9> kHeads = {"classifier",     "cls",   "lm_head",          "pre_classifier",
                                                      "qa_outputs",     "score", "vocab_layer_norm", "vocab_projector",
                                                      "vocab_transform"};
  const std::string_view module = name.substr(0, name.find('.'));
  return std::find(kHeads.begin(), kHeads.end(), module) != kHeads.end();
}

Result<ModelFolder> ModelFolder::Open(const std::string& path) {
  if (!IsFolder(path)) return NotFound(path + ": is no folder, want a Hugging Face model folder");
  ModelFolder folder;
  folder.path_ = path;
  RETURN_IF_ERROR(folder.ReadConfig());
  RETURN_IF_ERROR(folder.MapWeights());
  RETURN_IF_ERROR(folder.NameTensors());
  return folder;
}

std::string ModelFolder::TokenizerPath() const {
  return JoinPath(path_, "tokenizer.json");
}

Status ModelFolder::ReadConfig() {
  const std::string file = JoinPath(path_, kConfig);
  ASSIGN_OR_RETURN(config_json_, ReadFile(file, kMostConfigBytes));
  Result<nlohmann::json> config = ParseJsonObject(config_json_);
  if (!config.ok()) return config.status().Annotate(file);
  const auto type = config->find("model_type");
  if (type == config->end() || !type->is_string()) {
    return InvalidArgument(file + ": has no model_type, want for example \"bert\"");
  }
  model_type_ = type->get<std::string>();
  nlohmann::json arithmetic = nlohmann::json::object();
  for (const auto& [key, value] : config->items()) {
    if (IsArithmetic(key)) arithmetic[key] = value;
  }
  ASSIGN_OR_RETURN(canonical_config_, DumpJson(arithmetic));
  return OkStatus();
}

Status ModelFolder::MapWeights() {
  const std::string single = JoinPath(path_, kSingle);
  if (PathExists(single)) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Map(single));
    files_.push_back(std::move(file));
    return OkStatus();
  }
  if (PathExists(JoinPath(path_, kIndex))) return MapShards();
  for (const std::string_view pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (PathExists(JoinPath(path_, pickle))) {
      return Unimplemented(
          path_ + ": has its weights in " + std::string(pickle) +
          ", which can run code when it is read, want model.safetensors (if you trust the folder, convert "
          "it: python3 -c 'import sys, transformers as t; "
          "t.AutoModel.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])' " +
          path_ + ")");
    }
  }
  return NotFound(path_ + ": has neither model.safetensors nor model.safetensors.index.json");
}

Status ModelFolder::MapShards() {
  const std::string index_path = JoinPath(path_, kIndex);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(index_path, kMostIndexBytes));
  Result<nlohmann::json> index = ParseJsonObject(text);
  if (!index.ok()) return index.status().Annotate(index_path);
  const auto weight_map = index->find("weight_map");
  if (weight_map == index->end() || !weight_map->is_object()) {
    return InvalidArgument(index_path + ": has no weight_map object");
  }
  std::map<std::string, std::size_t> wanted;  // shard → how many tensors the index places in it
  for (const auto& [name, shard] : weight_map->items()) {
    if (!shard.is_string() || !IsPlainFileName(shard.get_ref<const std::string&>())) {
      return InvalidArgument(index_path + ": tensor " + Quoted(name) + " is in " + Quoted(shard.dump()) +
                             ", want a plain file name");
    }
    ++wanted[shard.get<std::string>()];
  }
  for (const auto& [shard, count] : wanted) {
    const std::string shard_path = JoinPath(path_, shard);
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Map(shard_path));
    // Each of the shard's tensors is placed here by the index, and there are as many as it places here: the same set.
    for (const auto& [name, tensor] : file.tensors()) {
      const auto placed = weight_map->find(name);
      if (placed == weight_map->end() || *placed != shard) {
        return InvalidArgument(shard_path + ": holds tensor " + Quoted(name) +
                               ", which the index does not place there");
      }
    }
    if (file.tensors().size() != count) {
      return InvalidArgument(shard_path + ": has " + std::to_string(file.tensors().size()) + " tensors, want the " +
                             std::to_string(count) + " that the index places there");
    }
    files_.push_back(std::move(file));
  }
  return OkStatus();
}

Status ModelFolder::NameTensors() {
  std::string_view prefix = BasePrefix(model_type_);
  const auto has_prefix = [prefix](const auto& entry) { return entry.first.starts_with(prefix); };
  for (const SafetensorsFile& file : files_) {
    if (std::any_of(file.tensors().begin(), file.tensors().end(), has_prefix)) {
      prefix = "";
      break;
    }
  }
  for (const SafetensorsFile& file : files_) {
    for (const auto& [name, tensor] : file.tensors()) {
      if (IsBuffer(name)) continue;
      std::string canonical = ModernName(IsTaskHead(name) ? name : std::string(prefix) + name);
      if (const auto [it, inserted] = tensors_.try_emplace(std::move(canonical), tensor); !inserted) {
        return InvalidArgument(path_ + ": tensors " + Quoted(name) + " and " + Quoted(it->second.name) + " are both " +
                               Quoted(it->first));
      }
    }
  }
  return OkStatus();
}

Result<TensorView> ModelFolder::Find(std::string_view name, const Shape& shape) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return InvalidArgument(path_ + ": has no tensor " + Quoted(name));
  const Status status = CheckShape(it->second, shape);
  if (!status.ok()) return status.Annotate(path_);
  return it->second;
}

Digest ModelFolder::BaseHash() const {
  Sha256 hash;
  hash.Update(AsBytes("fedpeft-base-1\nconfig " + canonical_config_ + "\n"));
  for (const auto& [name, tensor] : tensors_) {
    std::string line = nlohmann::json(name).dump();
    line.append(" ").append(DtypeName(tensor.dtype)).append(" ").append(ShapeText(tensor.shape));
    line.append(" ").append(Hex(Sha256Of(tensor.data))).append("\n");
    hash.Update(AsBytes(line));
  }
  return hash.Finish();
}

}  // namespace fedpeft
