#include <cmath>
#include <nlohmann/json.hpp>

#include "peft/model/bert.h"

namespace fedpeft {

namespace {

Status Mistyped(const char* key, const char* want) {
  return InvalidArgument("config.json: \"" + std::string(key) + "\" is not " + want);
}

/// The string at `key`, or `fallback` when the key is left out.
Result<std::string> Text(const nlohmann::json& config, const char* key, const char* fallback) {
  const auto value = config.find(key);
  if (value == config.end()) return std::string(fallback);
  if (!value->is_string()) return Mistyped(key, "a string");
  return value->get<std::string>();
}

}  // namespace

Result<BertSettings> BertSettingsFromConfigJson(std::string_view json) {
  const nlohmann::json config = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return InvalidArgument("config.json: is not a JSON object");
  BertSettings settings;
  ASSIGN_OR_RETURN(const std::string activation, Text(config, "hidden_act", "gelu"));
  ASSIGN_OR_RETURN(settings.activation, ActivationOf(activation));
  ASSIGN_OR_RETURN(const std::string positions, Text(config, "position_embedding_type", "absolute"));
  if (positions != "absolute") {
    return Unimplemented("config.json: position_embedding_type: got \"" + positions + "\", want \"absolute\"");
  }
  if (const auto epsilon = config.find("layer_norm_eps"); epsilon != config.end()) {
    if (!epsilon->is_number() || !(epsilon->get<double>() > 0)) return Mistyped("layer_norm_eps", "a positive number");
    settings.norm_epsilon = epsilon->get<double>();
  }
  if (const auto types = config.find("type_vocab_size"); types != config.end()) {
    if (!types->is_number_integer() || types->get<std::int64_t>() < 1 || types->get<std::int64_t>() > 1 << 16) {
      return Mistyped("type_vocab_size", "an integer from 1 to 65536");
    }
    settings.types = types->get<std::int64_t>();
  }
  return settings;
}

}  // namespace fedpeft
