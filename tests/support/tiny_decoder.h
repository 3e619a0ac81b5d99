// A decoder of the Llama family with random weights, written as the model folder that a user would have.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "peft/core/files.h"
#include "peft/core/random.h"
#include "peft/io/safetensors.h"
#include "peft/plan/base_config.h"
#include "peft/plan/sites.h"

namespace fedpeft::testing {

/// 4 heads of width 6 over 2 of keys and values; `more` are further members (`, "key": value`).
inline std::string TinyDecoderConfig(const std::string& model_type, int layers, const std::string& more = "") {
  return R"({"model_type": ")" + model_type + R"(", "hidden_size": 20, "num_attention_heads": 4, "head_dim": 6,)" +
         R"( "num_key_value_heads": 2, "intermediate_size": 28, "vocab_size": 50, "max_position_embeddings": 40,)" +
         R"( "num_hidden_layers": )" + std::to_string(layers) + more + "}";
}

/// Writes config.json and model.safetensors, without a language-model head.
inline Status WriteTinyDecoder(const std::string& folder, const std::string& config_json) {
  ASSIGN_OR_RETURN(const BaseConfig config, ReadBaseConfig(config_json));
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(folder, "config.json"), AsBytes(config_json)));
  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors;
  RandomStream stream(8, "tiny");
  const auto add = [&](const std::string& name, const Shape& shape, double mean) {
    std::int64_t size = 1;
    for (const std::int64_t dimension : shape) size *= dimension;
    std::vector<float> values;
    for (std::int64_t i = 0; i < size; ++i) values.push_back(static_cast<float>(mean + 0.3 * stream.NextNormal()));
    tensors[name] = {shape, std::move(values)};
  };
  add("embed_tokens.weight", {50, 20}, 0);
  add("norm.weight", {20}, 1);
  for (const Site& site : LinearSites(config.shape)) {
    add(site.path.substr(std::string("model.").size()) + ".weight", {site.out, site.in}, 0);
  }
  for (std::int64_t i = 0; i < config.shape.num_hidden_layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm.weight", {20}, 1);
    add(layer + "post_attention_layernorm.weight", {20}, 1);
  }
  for (const NormSite& norm : SitesOf(config.shape).norms) {  // of heads, where the family has them
    const std::string name = norm.path.substr(std::string("model.").size()) + ".weight";
    if (!tensors.contains(name)) add(name, {norm.width}, 1);
  }
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) views.push_back(FloatView(name, tensor.first, tensor.second));
  return WriteSafetensors(JoinPath(folder, "model.safetensors"), views);
}

}  // namespace fedpeft::testing
