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

/// Refuses what would make `W·x + scale·B·A·x` wrong.
Status CheckPlainLora(const json& config) {
  constexpr std::array<std::string_view, 9> kVariants = {"use_dora",           "lora_bias",
                                                         "layer_replication",  "trainable_token_indices",
                                                         "target_parameters",  "alora_invocation_tokens",
                                                         "use_qalora",         "use_bdlora",
                                                         "ensure_weight_tying"};
  if (config.value("peft_type", json()) != "LORA") {
    return Unimplemented("peft_type: got " + config.value("peft_type", json()).dump() + ", want \"LORA\"");
  }
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

}  // namespace

Result<std::string> AdapterConfigToJson(const LoraAdapterConfig& config) {
  json alphas = json::object();
  for (const auto& [module, alpha] : config.alpha_pattern) alphas[module] = Number(alpha);
  json out;
  out["alpha_pattern"] = alphas;
  out["base_model_name_or_path"] = OrNull(config.base_model_name_or_path);
  out["bias"] = "none";
  out["exclude_modules"] = nullptr;
  out["fan_in_fan_out"] = config.fan_in_fan_out;
  out["inference_mode"] = true;
  out["init_lora_weights"] = true;
  out["layers_pattern"] = nullptr;
  out["layers_to_transform"] = nullptr;
  out["lora_alpha"] = Number(config.lora_alpha);
  out["lora_dropout"] = config.lora_dropout;
  out["modules_to_save"] = config.modules_to_save.empty() ? json(nullptr) : SortedList(config.modules_to_save);
  out["peft_type"] = "LORA";
  out["r"] = config.r;
  out["rank_pattern"] = config.rank_pattern;
  out["revision"] = nullptr;
  out["target_modules"] = SortedList(config.target_modules);
  out["task_type"] = OrNull(config.task_type);
  out["use_dora"] = false;
  out["use_rslora"] = config.use_rslora;
  ASSIGN_OR_RETURN(std::string text, DumpJson(out, 2));
  return text + "\n";
}

Result<LoraAdapterConfig> AdapterConfigFromJson(std::string_view text) {
  ASSIGN_OR_RETURN(const json config, ParseJsonObject(text));
  RETURN_IF_ERROR(CheckPlainLora(config));
  LoraAdapterConfig out;
  RETURN_IF_ERROR(Read(config, "base_model_name_or_path", out.base_model_name_or_path));
  RETURN_IF_ERROR(Read(config, "task_type", out.task_type));
  RETURN_IF_ERROR(Read(config, "r", out.r));
  RETURN_IF_ERROR(Read(config, "lora_alpha", out.lora_alpha));
  RETURN_IF_ERROR(Read(config, "lora_dropout", out.lora_dropout));
  RETURN_IF_ERROR(Read(config, "use_rslora", out.use_rslora));
  RETURN_IF_ERROR(Read(config, "fan_in_fan_out", out.fan_in_fan_out));
  RETURN_IF_ERROR(ReadPattern(config, "rank_pattern", out.rank_pattern));
  RETURN_IF_ERROR(ReadPattern(config, "alpha_pattern", out.alpha_pattern));
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
