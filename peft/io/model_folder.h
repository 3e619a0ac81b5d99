// A Hugging Face model folder: config.json, tokenizer.json, and the weights in one safetensors file or in shards,
// mapped and handed out as views under one spelling of their names. What the names mean is peft/model's business.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "peft/io/safetensors.h"

namespace fedpeft {

/// Whether a tensor belongs to the head of a task's model (`classifier.weight`, `lm_head.weight`, `cls.…`), which
/// stands beside the base and not in it.
bool IsTaskHead(std::string_view name);

class ModelFolder {
 public:
  /// Errors: kNotFound: no folder, config.json or weights; kUnimplemented: only pickled weights (says how to convert
  /// them); kInvalidArgument: a malformed file, an index and shards that disagree, or two tensors of one name.
  /// Cost: reads headers only; the weights are mapped.
  static Result<ModelFolder> Open(const std::string& path);

  const std::string& path() const { return path_; }
  /// The text of config.json, at most 1 MiB, one JSON object.
  const std::string& config_json() const { return config_json_; }
  /// `model_type` of config.json.
  const std::string& model_type() const { return model_type_; }
  /// Where tokenizer.json is, or would be.
  std::string TokenizerPath() const;

  /// By canonical name: with the base's prefix (`bert.`, `transformer.`, …) also where the file has none, but for the
  /// heads of tasks; `weight` and `bias` for the old `gamma` and `beta`; and without the buffers that some files carry
  /// (`position_ids`, …). A view's own `name` stays the file's. The views are valid as long as the folder, which may be
  /// moved.
  const TensorMap& tensors() const { return tensors_; }

  /// The tensor of that canonical name. Errors: kInvalidArgument naming folder and tensor when there is none or its
  /// shape is another.
  Result<TensorView> Find(std::string_view name, const Shape& shape) const;

  /// Identifies the base whatever its sharding, header padding, prefix spelling and file names: the SHA-256 of
  ///   fedpeft-base-1 LF
  ///   config SP canonical-config LF
  ///   name-as-JSON-string SP dtype SP [shape] SP sha256-of-data LF      for each canonical name in byte order
  /// where canonical-config is config.json on one line, keys in byte order, without the keys that say nothing of the
  /// frozen weights and their arithmetic (IsArithmetic in the source lists them). Unknown keys count: two folders are
  /// never called equal by mistake, at the price of being told apart by a key that does not matter.
  /// Cost: one pass over the weights, about 1.4 GB/s with SHA instructions.
  Digest BaseHash() const;

 private:
  ModelFolder() = default;
  Status ReadConfig();
  Status MapWeights();
  Status MapShards();
  Status NameTensors();

  std::string path_;
  std::string config_json_;
  std::string canonical_config_;
  std::string model_type_;
  std::vector<SafetensorsFile> files_;
  TensorMap tensors_;
};

}  // namespace fedpeft
