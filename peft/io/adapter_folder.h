// Hugging Face PEFT folders: adapter_config.json and adapter_model.safetensors, written and read. peft's own loader
// ignores surplus tensors and only warns of missing ones, so both directions check names and shapes against the
// configuration here (adapter_tensors.h). Verified against peft 0.21. Methods that peft lacks have the same two files,
// under names of our own that it refuses.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/io/safetensors.h"

namespace fedpeft {

/// The methods that there are folders of.
enum class PeftType {
  kLora,
  kAdaLora,
  kIa3,
  kPrefixTuning,
  kPromptTuning,
  kLnTuning,
  kAdaptionPrompt,
  kBottleneck,
  kBitFit,
  kFull,
  kSparse,
  /// LLaMA-Adapter where peft's arithmetic is another.
  kLlamaAdapter
};

/// What adapter_config.json says. Names as peft's; each method reads and writes its own, and those before `r`.
struct AdapterConfig {
  PeftType peft_type = PeftType::kLora;
  std::string base_model_name_or_path;
  /// `SEQ_CLS`, `CAUSAL_LM`, `FEATURE_EXTRACTION`, …; empty for null.
  std::string task_type;
  /// Modules trained and saved whole: the head. Read back without those that have no tensor in the file.
  std::vector<std::string> modules_to_save;
  /// Of LoRA, (IA)³, norms and sparse tuning. A module matches t when its path is t or ends with `.t`. Read back as
  /// full module paths, taken from the tensors.
  std::vector<std::string> target_modules;

  std::int64_t r = 8;
  double lora_alpha = 8;
  double lora_dropout = 0;
  bool use_rslora = false;
  bool use_dora = false;
  /// The base keeps its weights as [in, out] (GPT-2's Conv1D).
  bool fan_in_fan_out = false;
  /// Module (matched as target_modules) → its own r or alpha.
  std::map<std::string, std::int64_t> rank_pattern;
  std::map<std::string, double> alpha_pattern;

  /// AdaLoRA, whose initial rank is `r`. By module's path, of each rank whether the file has it; empty: it has all.
  std::int64_t target_r = 8;
  double beta1 = 0.85;
  double beta2 = 0.85;
  double orth_reg_weight = 0.5;
  std::map<std::string, std::vector<bool>> rank_masks;

  /// (IA)³: those of target_modules whose input is scaled. Read back like them.
  std::vector<std::string> feedforward_modules;

  /// Prefix and prompt; the base's own width, layers and heads (of keys and values, and their width, of a prefix).
  std::int64_t num_virtual_tokens = 0;
  std::int64_t token_dim = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_attention_heads = 0;

  /// LLaMA-Adapter: vectors a layer, and how many of the top layers. Its one target is the attention's last word.
  std::int64_t adapter_len = 0;
  std::int64_t adapter_layers = 0;

  /// Bottleneck adapters, as the run has them.
  std::string kind;
  std::int64_t size = 0;
  std::string activation;
  double scale = 1;
  std::int64_t phm_dim = 0;
  std::int64_t phm_rank = 1;

  /// Folders of the `adapters` library (adapters_library.h): what its tensors' names call the adapter, else empty; the
  /// base's model_type; the classes, where they have names.
  std::string adapter_name;
  std::string model_type;
  std::vector<std::string> labels;

  /// Sparse tuning: what chooses the elements.
  double density = 0;
  std::uint64_t seed = 0;

  bool is_llama_adapter() const {
    return peft_type == PeftType::kAdaptionPrompt || peft_type == PeftType::kLlamaAdapter;
  }
  /// Whether the base's module tree is wrapped once (`base_model.PATH`) and not twice (`base_model.model.PATH`).
  bool is_prompt_learning() const {
    return peft_type == PeftType::kPrefixTuning || peft_type == PeftType::kPromptTuning;
  }
};

/// A module with a low-rank branch: y += scale · B·A·x, of AdaLoRA scale · B·E·A·x.
struct LoraModule {
  /// Path in the task model, without `base_model.model.`.
  std::string path;
  /// lora_embedding_A/B instead of lora_A/B.weight.
  bool embedding = false;
  std::int64_t rank = 0;
  double alpha = 0;
  /// alpha / rank, or alpha / √rank with use_rslora, after the patterns.
  double scale = 0;
};

/// Keys of our own in the safetensors metadata, which other programs ignore.
namespace adapter_metadata {
inline constexpr std::string_view kLabels = "fedpeft.labels";                 // EncodeLabels
inline constexpr std::string_view kBaseHash = "fedpeft.base_hash";            // hexadecimal ModelFolder::BaseHash
inline constexpr std::string_view kTokenizerHash = "fedpeft.tokenizer_hash";  // hexadecimal Tokenizer::hash
inline constexpr std::string_view kRun = "fedpeft.run";
inline constexpr std::string_view kRound = "fedpeft.round";
}  // namespace adapter_metadata

/// Labels in order of their class index, as a JSON array of strings, and back.
/// Errors: kInvalidArgument: not UTF-8; not an array of strings.
Result<std::string> EncodeLabels(std::span<const std::string> labels);
Result<std::vector<std::string>> DecodeLabels(std::string_view json);

/// Writes the folder (made if need be), the weights first: a folder with a configuration is complete. `tensors` carry
/// the names of peft (`base_model.model.PATH.lora_A.weight`, …) in any order. Errors: CheckTensors',
/// SerializeSafetensors', and those of writing.
Status WriteAdapterFolder(const std::string& folder, const AdapterConfig& config, std::span<const TensorView> tensors,
                          const StringMap& metadata = {});

/// A folder read into memory.
struct AdapterFolder {
  AdapterConfig config;
  /// By path; of LoRA and AdaLoRA.
  std::vector<LoraModule> modules;
  /// All tensors by name, and the metadata.
  SafetensorsFile file;
};

/// Reads folders of the `adapters` library too. Errors: kNotFound: a file is missing; kUnimplemented: another method
/// than PeftType's, or a variant that changes the arithmetic (biases, pissa …), or weights that are pickles;
/// kInvalidArgument: a malformed file, or tensors that do not fit the configuration; kResourceExhausted: weights of
/// more than `max_bytes`.
Result<AdapterFolder> ReadAdapterFolder(const std::string& folder, std::uint64_t max_bytes = std::uint64_t{2} << 30);

}  // namespace fedpeft
