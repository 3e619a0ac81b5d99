// A BERT of two layers and random weights, written as the model folder that a user would have.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "peft/core/files.h"
#include "peft/core/random.h"
#include "peft/io/safetensors.h"
#include "peft/plan/plan.h"

namespace fedpeft::testing {

inline BaseShape TinyShape() {
  return {"bert", 32, 2, 4, 64, 50, 40};
}

/// LoRA of rank 4 on query, value and the last linear of each feed-forward, and a head of three classes.
inline PeftPlan TinyPlan() {
  PeftPlan plan;
  plan.base = TinyShape();
  plan.method = LoraConfig{.rank = 4, .alpha = 8, .dropout = 0, .target_modules = {"query", "value", "output.dense"}};
  plan.labels = 3;
  return plan;
}

/// Tensors by name: normals, and norms near the identity.
inline std::map<std::string, std::pair<Shape, std::vector<float>>> TinyTensors() {
  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors;
  RandomStream stream(7, "tiny");
  const auto add = [&](const std::string& name, const Shape& shape, double mean, double deviation) {
    std::int64_t size = 1;
    for (const std::int64_t dimension : shape) size *= dimension;
    std::vector<float> values;
    for (std::int64_t i = 0; i < size; ++i)
      values.push_back(static_cast<float>(mean + deviation * stream.NextNormal()));
    tensors[name] = {shape, std::move(values)};
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", {32}, 1, 0.1);
    add(name + ".bias", {32}, 0, 0.1);
  };
  add("embeddings.word_embeddings.weight", {50, 32}, 0, 0.5);
  add("embeddings.position_embeddings.weight", {40, 32}, 0, 0.5);
  add("embeddings.token_type_embeddings.weight", {2, 32}, 0, 0.5);
  norm("embeddings.LayerNorm");
  for (const Site& site : LinearSites(TinyShape())) {
    const std::string name = site.path.substr(std::string("bert.").size());
    add(name + ".weight", {site.out, site.in}, 0, 0.2);
    add(name + ".bias", {site.out}, 0, 0.2);
  }
  for (const char* layer : {"encoder.layer.0.", "encoder.layer.1."}) {
    norm(layer + std::string("attention.output.LayerNorm"));
    norm(layer + std::string("output.LayerNorm"));
  }
  return tensors;
}

/// Writes config.json, with `extra` members (`, "key": value`), and model.safetensors without tensor `left_out`.
inline Status WriteTinyBert(const std::string& folder, const std::string& extra = "",
                            const std::string& left_out = "") {
  const std::string config =
      R"({"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,)"
      R"( "intermediate_size": 64, "vocab_size": 50, "max_position_embeddings": 40, "type_vocab_size": 2)" +
      extra + "}";
  RETURN_IF_ERROR(WriteFileAtomically(JoinPath(folder, "config.json"), AsBytes(config)));
  const auto tensors = TinyTensors();
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    if (name != left_out) views.push_back(FloatView(name, tensor.first, tensor.second));
  }
  return WriteSafetensors(JoinPath(folder, "model.safetensors"), views);
}

}  // namespace fedpeft::testing
