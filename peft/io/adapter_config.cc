#include "peft/io/adapter_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <type_traits>
#include <utility>

#include "peft/io/json.h"
#include "peft/io/quote.h"

namespace fedpeft {

namespace {

using nlohmann::json;

/// What follows a module's path in AdaLoRA's rank_pattern.
constexpr std::string_view kMaskSuffix = ".lora_E";
constexpr std::int64_t kMostRank = 65536;

/// peft writes whole alphas as integers.
json Number(double value) {
  constexpr double kExact = 9007199254740992;  // 2^53
  if (value == std::floor(value) && std::abs(value) < kExact) return static_cast<std::int64_t>(value);
  return value;
}

json OrNull(const std::string& text) {
  return text.empty() ? json(nullptr) : json(text);
}

json SortedList(const std::vector<std::string>& names) {
  return std::set<std::string>(names.begin(), names.end());
}

/// Whether a key asks for something: null, false and empty values do not.
bool IsSet(const json& value) {
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.is_null() && !(value.is_structured() && value.empty()) && value != false;
}

constexpr std::array<std::pair<PeftType, const char*>, 13> kTypes = {
    {{PeftType::kLora, "LORA"},
     {PeftType::kAdaLora, "ADALORA"},
     {PeftType::kIa3, "IA3"},
     {PeftType::kPrefixTuning, "PREFIX_TUNING"},
     {PeftType::kPromptTuning, "PROMPT_TUNING"},
     // Its folder holds what its encoder makes.
     {PeftType::kPromptTuning, "P_TUNING"},
     {PeftType::kLnTuning, "LN_TUNING"},
     {PeftType::kAdaptionPrompt, "ADAPTION_PROMPT"},
     {PeftType::kBottleneck, "FEDPEFT_ADAPTER"},
     {PeftType::kBitFit, "FEDPEFT_BITFIT"},
     {PeftType::kFull, "FEDPEFT_FULL"},
     {PeftType::kSparse, "FEDPEFT_SPARSE"},
     {PeftType::kLlamaAdapter, "FEDPEFT_LLAMA_ADAPTER"}}};

const char* NameOf(PeftType type) {
  return std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& row) { return row.first == type; })->second;
}

Result<PeftType> TypeOf(const json& config) {
  const json got = config.value("peft_type", json());
  std::string known;
  for (const auto& [type, name] : kTypes) {
    if (got == name) return type;
    known.append(known.empty() ? "" : ", ").append(name);
  }
  return Unimplemented("peft_type: got " + got.dump() + ", want one of " + known);
}

/// Refuses what would make `W·x + scale·B·A·x` wrong.
Status CheckPlainLora(const json& config) {
  constexpr std::array<std::string_view, 8> kVariants = {
      "lora_bias",  "layer_replication", "trainable_token_indices", "target_parameters", "alora_invocation_tokens",
      "use_qalora", "use_bdlora",        "ensure_weight_tying"};
  for (const auto& [key, value] : config.items()) {
    const bool variant =
        std::find(kVariants.begin(), kVariants.end(), key) != kVariants.end() || key.ends_with("_config");
    if (variant && IsSet(value)) return Unimplemented(key + ": is set, and not supported");
  }
  if (const json bias = config.value("bias", json("none")); bias != "none") {
    return Unimplemented("bias: got " + bias.dump() + ", want \"none\"");
  }
  // These begin from a decomposition of the base and change its weights; peft does it again at each loading.
  const json init = config.value("init_lora_weights", json(true));
  const std::set<json> plain = {true, false, "gaussian", "orthogonal", "eva"};
  if (!init.is_null() && !plain.contains(init)) {
    return Unimplemented("init_lora_weights: got " + init.dump() + ", want one that leaves the base unchanged");
  }
  return OkStatus();
}

template <typename T>
bool HasType(const json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_same_v<T, std::string>) return value.is_string();
  if constexpr (std::is_same_v<T, double>) return value.is_number();
  if constexpr (std::is_same_v<T, std::int64_t>) {
    return value.is_number_integer() &&
           !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max());
  }
  if constexpr (std::is_same_v<T, std::uint64_t>) return value.is_number_unsigned();
}

/// Replaces `out` when the key is there and not null.
template <typename T>
Status Read(const json& config, const char* key, T& out) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return OkStatus();
  if (!HasType<T>(*it)) return InvalidArgument(std::string(key) + ": has a value of the wrong type");
  out = it->get<T>();
  return OkStatus();
}

template <typename T>
Status ReadPattern(const json& config, const char* key, std::map<std::string, T>& out) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return OkStatus();
  if (!it->is_object()) return InvalidArgument(std::string(key) + ": is not an object");
  for (const auto& [name, value] : it->items()) {
    if (!HasType<T>(value))
      return InvalidArgument(std::string(key) + ": " + Quoted(name) + " has a value of the wrong type");
    out[name] = value.template get<T>();
  }
  return OkStatus();
}

Status ReadNames(const json& config, const char* key, std::set<std::string>& out) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return OkStatus();
  if (!it->is_array()) return InvalidArgument(std::string(key) + ": is not a list");
  for (const json& name : *it) {
    if (!name.is_string()) return InvalidArgument(std::string(key) + ": holds something else than names");
    out.insert(name.get<std::string>());
  }
  return OkStatus();
}

void WriteLora(const AdapterConfig& config, json& out) {
  json alphas = json::object();
  for (const auto& [module, alpha] : config.alpha_pattern) alphas[module] = Number(alpha);
  out["alpha_pattern"] = alphas;
  out["bias"] = "none";
  out["exclude_modules"] = nullptr;
  out["fan_in_fan_out"] = config.fan_in_fan_out;
  out["init_lora_weights"] = true;
  out["layers_pattern"] = nullptr;
  out["layers_to_transform"] = nullptr;
  out["lora_alpha"] = Number(config.lora_alpha);
  out["lora_dropout"] = config.lora_dropout;
  out["r"] = config.r;
  out["rank_pattern"] = config.rank_pattern;
  out["target_modules"] = SortedList(config.target_modules);
  out["use_dora"] = config.use_dora;
  out["use_rslora"] = config.use_rslora;
}

void WriteVirtualTokens(const AdapterConfig& config, json& out) {
  out["num_attention_heads"] = config.num_attention_heads;
  out["num_layers"] = config.num_layers;
  out["num_transformer_submodules"] = 1;
  out["num_virtual_tokens"] = config.num_virtual_tokens;
  out["token_dim"] = config.token_dim;
  if (config.peft_type == PeftType::kPrefixTuning) {
    out["encoder_hidden_size"] = config.token_dim;
    out["prefix_projection"] = false;
  } else {
    out["prompt_tuning_init"] = "RANDOM";
    out["prompt_tuning_init_text"] = nullptr;
    out["tokenizer_name_or_path"] = nullptr;
  }
}

/// Steps mean nothing any more, but peft wants some.
void WriteAdaLora(const AdapterConfig& config, json& out) {
  out["beta1"] = config.beta1;
  out["beta2"] = config.beta2;
  out["bias"] = "none";
  out["deltaT"] = 1;
  out["fan_in_fan_out"] = config.fan_in_fan_out;
  out["init_lora_weights"] = true;
  out["init_r"] = config.r;
  out["lora_alpha"] = Number(config.lora_alpha);
  out["lora_dropout"] = config.lora_dropout;
  out["orth_reg_weight"] = config.orth_reg_weight;
  json masks = nullptr;
  for (const auto& [path, mask] : config.rank_masks) masks[path + std::string(kMaskSuffix)] = mask;
  out["rank_pattern"] = masks;
  out["target_modules"] = SortedList(config.target_modules);
  out["target_r"] = config.target_r;
  out["tfinal"] = 0;
  out["tinit"] = 0;
  out["total_step"] = 1;
}

Status ReadRankMasks(const json& config, AdapterConfig& out) {
  const auto it = config.find("rank_pattern");
  if (it == config.end() || it->is_null()) return OkStatus();
  if (!it->is_object()) return InvalidArgument("rank_pattern: is not an object");
  for (const auto& [name, mask] : it->items()) {
    const bool flags =
        mask.is_array() && std::all_of(mask.begin(), mask.end(), [](const json& m) { return m.is_boolean(); });
    if (!flags || static_cast<std::int64_t>(mask.size()) != out.r || !name.ends_with(kMaskSuffix)) {
      return InvalidArgument("rank_pattern: " + Quoted(name) + " is not a list of init_r flags of a module's lora_E");
    }
    out.rank_masks[name.substr(0, name.size() - kMaskSuffix.size())] = mask.get<std::vector<bool>>();
  }
  return OkStatus();
}

Status ReadAdaLora(const json& config, AdapterConfig& out) {
  RETURN_IF_ERROR(CheckPlainLora(config));
  RETURN_IF_ERROR(Read(config, "init_r", out.r));
  if (out.r < 1 || out.r > kMostRank) {
    return InvalidArgument("init_r: got " + std::to_string(out.r) + ", want 1 to " + std::to_string(kMostRank));
  }
  RETURN_IF_ERROR(Read(config, "lora_alpha", out.lora_alpha));
  RETURN_IF_ERROR(Read(config, "lora_dropout", out.lora_dropout));
  RETURN_IF_ERROR(Read(config, "target_r", out.target_r));
  RETURN_IF_ERROR(Read(config, "beta1", out.beta1));
  RETURN_IF_ERROR(Read(config, "beta2", out.beta2));
  RETURN_IF_ERROR(Read(config, "orth_reg_weight", out.orth_reg_weight));
  return ReadRankMasks(config, out);
}

Status ReadLora(const json& config, AdapterConfig& out) {
  RETURN_IF_ERROR(CheckPlainLora(config));
  RETURN_IF_ERROR(Read(config, "r", out.r));
  RETURN_IF_ERROR(Read(config, "lora_alpha", out.lora_alpha));
  RETURN_IF_ERROR(Read(config, "lora_dropout", out.lora_dropout));
  RETURN_IF_ERROR(Read(config, "use_rslora", out.use_rslora));
  RETURN_IF_ERROR(Read(config, "use_dora", out.use_dora));
  RETURN_IF_ERROR(ReadPattern(config, "rank_pattern", out.rank_pattern));
  return ReadPattern(config, "alpha_pattern", out.alpha_pattern);
}

Status ReadVirtualTokens(const json& config, AdapterConfig& out) {
  RETURN_IF_ERROR(Read(config, "num_virtual_tokens", out.num_virtual_tokens));
  RETURN_IF_ERROR(Read(config, "token_dim", out.token_dim));
  RETURN_IF_ERROR(Read(config, "num_layers", out.num_layers));
  RETURN_IF_ERROR(Read(config, "num_attention_heads", out.num_attention_heads));
  if (const json submodules = config.value("num_transformer_submodules", json(1)); submodules != 1) {
    return Unimplemented("num_transformer_submodules: got " + submodules.dump() + ", want 1");
  }
  // Bounds that make the products of their tensor's shape small numbers.
  constexpr std::int64_t kMost = 1 << 20;
  for (const std::int64_t value : {out.num_virtual_tokens, out.token_dim, out.num_layers}) {
    if (value < 1 || value > kMost) {
      return InvalidArgument("num_virtual_tokens, token_dim and num_layers: got " + std::to_string(value) +
                             ", want 1 to " + std::to_string(kMost));
    }
  }
  return OkStatus();
}

Status ReadLlamaAdapter(const json& config, AdapterConfig& out) {
  RETURN_IF_ERROR(Read(config, "adapter_len", out.adapter_len));
  RETURN_IF_ERROR(Read(config, "adapter_layers", out.adapter_layers));
  // As virtual tokens are bounded.
  constexpr std::int64_t kMost = 1 << 20;
  for (const std::int64_t value : {out.adapter_len, out.adapter_layers}) {
    if (value < 1 || value > kMost) {
      return InvalidArgument("adapter_len and adapter_layers: got " + std::to_string(value) + ", want 1 to " +
                             std::to_string(kMost));
    }
  }
  return OkStatus();
}

Status ReadBottleneck(const json& config, AdapterConfig& out) {
  RETURN_IF_ERROR(Read(config, "kind", out.kind));
  RETURN_IF_ERROR(Read(config, "size", out.size));
  RETURN_IF_ERROR(Read(config, "activation", out.activation));
  RETURN_IF_ERROR(Read(config, "phm_dim", out.phm_dim));
  RETURN_IF_ERROR(Read(config, "phm_rank", out.phm_rank));
  return Read(config, "scale", out.scale);
}

Status ReadSparse(const json& config, AdapterConfig& out) {
  for (const char* key : {"density", "seed"}) {  // without them other elements would be taken in silence
    if (config.value(key, json()).is_null()) return InvalidArgument(std::string(key) + ": is missing");
  }
  RETURN_IF_ERROR(Read(config, "density", out.density));
  return Read(config, "seed", out.seed);
}

}  // namespace

Result<std::string> AdapterConfigToJson(const AdapterConfig& config) {
  json out;
  out["base_model_name_or_path"] = OrNull(config.base_model_name_or_path);
  out["inference_mode"] = true;
  if (config.peft_type != PeftType::kAdaptionPrompt) {  // which has no such key in peft
    out["modules_to_save"] = config.modules_to_save.empty() ? json(nullptr) : SortedList(config.modules_to_save);
  }
  out["peft_type"] = NameOf(config.peft_type);
  out["revision"] = nullptr;
  out["task_type"] = OrNull(config.task_type);
  switch (config.peft_type) {
    case PeftType::kLora:
      WriteLora(config, out);
      break;
    case PeftType::kAdaLora:
      WriteAdaLora(config, out);
      break;
    case PeftType::kIa3:
      out["exclude_modules"] = nullptr;
      out["fan_in_fan_out"] = config.fan_in_fan_out;
      out["feedforward_modules"] = SortedList(config.feedforward_modules);
      out["init_ia3_weights"] = true;
      out["target_modules"] = SortedList(config.target_modules);
      break;
    case PeftType::kLnTuning:
      out["exclude_modules"] = nullptr;
      out["target_modules"] = SortedList(config.target_modules);
      break;
    case PeftType::kPrefixTuning:
    case PeftType::kPromptTuning:
      WriteVirtualTokens(config, out);
      break;
    case PeftType::kAdaptionPrompt:
    case PeftType::kLlamaAdapter:
      out["adapter_layers"] = config.adapter_layers;
      out["adapter_len"] = config.adapter_len;
      out["target_modules"] = config.target_modules.empty() ? json(nullptr) : json(config.target_modules.front());
      break;
    case PeftType::kBottleneck:
      out["activation"] = config.activation;
      out["kind"] = config.kind;
      out["phm_dim"] = config.phm_dim;
      out["phm_rank"] = config.phm_rank;
      out["scale"] = config.scale;
      out["size"] = config.size;
      break;
    case PeftType::kSparse:
      out["density"] = config.density;
      out["seed"] = config.seed;
      out["target_modules"] = SortedList(config.target_modules);
      break;
    case PeftType::kBitFit:
    case PeftType::kFull:
      break;
  }
  ASSIGN_OR_RETURN(std::string text, DumpJson(out, 2));
  return text + "\n";
}

Result<AdapterConfig> AdapterConfigFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json config, ParseJsonObject(text));
  AdapterConfig out;
  ASSIGN_OR_RETURN(out.peft_type, TypeOf(config));
  RETURN_IF_ERROR(Read(config, "base_model_name_or_path", out.base_model_name_or_path));
  RETURN_IF_ERROR(Read(config, "task_type", out.task_type));
  RETURN_IF_ERROR(Read(config, "fan_in_fan_out", out.fan_in_fan_out));
  if (out.peft_type == PeftType::kLora) RETURN_IF_ERROR(ReadLora(config, out));
  if (out.peft_type == PeftType::kAdaLora) RETURN_IF_ERROR(ReadAdaLora(config, out));
  if (out.is_prompt_learning()) RETURN_IF_ERROR(ReadVirtualTokens(config, out));
  if (out.is_llama_adapter()) RETURN_IF_ERROR(ReadLlamaAdapter(config, out));
  if (out.peft_type == PeftType::kBottleneck) RETURN_IF_ERROR(ReadBottleneck(config, out));
  if (out.peft_type == PeftType::kSparse) RETURN_IF_ERROR(ReadSparse(config, out));
  std::set<std::string> targets;
  if (const auto it = config.find("target_modules"); it == config.end() || !it->is_string()) {
    RETURN_IF_ERROR(ReadNames(config, "target_modules", targets));
  }
  std::set<std::string> saved;
  RETURN_IF_ERROR(ReadNames(config, "modules_to_save", saved));
  if (out.task_type == "SEQ_CLS") saved.insert({"classifier", "score"});
  out.target_modules.assign(targets.begin(), targets.end());
  out.modules_to_save.assign(saved.begin(), saved.end());
  return out;
}

}  // namespace fedpeft
