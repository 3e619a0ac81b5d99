#include "peft/plan/base_shape.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace fedpeft {

namespace {

struct Bound {
  std::string_view key;
  std::int64_t BaseShape::*field;
  std::int64_t max;
};

constexpr std::array<Bound, 6> kBounds = {{{"hidden_size", &BaseShape::hidden_size, 1 << 16},
                                           {"num_hidden_layers", &BaseShape::num_hidden_layers, 1 << 10},
                                           {"num_attention_heads", &BaseShape::num_attention_heads, 1 << 10},
                                           {"intermediate_size", &BaseShape::intermediate_size, 1 << 18},
                                           {"vocab_size", &BaseShape::vocab_size, 1 << 22},
                                           {"max_position_embeddings", &BaseShape::max_position_embeddings, 1 << 22}}};

}  // namespace

Status CheckBaseShape(const BaseShape& shape) {
  if (shape.model_type != "bert") {
    return Unimplemented("base.model_type: got \"" + shape.model_type + "\", want \"bert\"");
  }
  for (const Bound& bound : kBounds) {
    const std::int64_t value = shape.*bound.field;
    if (value < 1 || value > bound.max) {
      return InvalidArgument("base." + std::string(bound.key) + ": got " + std::to_string(value) + ", want 1 to " +
                             std::to_string(bound.max));
    }
  }
  if (shape.hidden_size % shape.num_attention_heads != 0) {
    return InvalidArgument("base.hidden_size: got " + std::to_string(shape.hidden_size) +
                           ", want a multiple of base.num_attention_heads (" +
                           std::to_string(shape.num_attention_heads) + ")");
  }
  return OkStatus();
}

std::vector<Site> LinearSites(const BaseShape& shape) {
  const std::int64_t width = shape.hidden_size, wide = shape.intermediate_size;
  std::vector<Site> sites;
  for (int layer = 0; layer < static_cast<int>(shape.num_hidden_layers); ++layer) {
    const std::string prefix = "bert.encoder.layer." + std::to_string(layer) + ".";
    for (const char* name : {"query", "key", "value"}) {
      sites.push_back({prefix + "attention.self." + name, layer, width, width});
    }
    sites.push_back({prefix + "attention.output.dense", layer, width, width});
    sites.push_back({prefix + "intermediate.dense", layer, width, wide});
    sites.push_back({prefix + "output.dense", layer, wide, width});
  }
  sites.push_back({"bert.pooler.dense", -1, width, width});
  return sites;
}

Site HeadSite(const BaseShape& shape, std::int64_t labels) {
  return {"classifier", -1, shape.hidden_size, labels};
}

Result<BaseShape> BaseShapeFromConfigJson(std::string_view json) {
  const nlohmann::json config = nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return InvalidArgument("config.json: is not a JSON object");
  BaseShape shape;
  const auto type = config.find("model_type");
  if (type == config.end() || !type->is_string()) return InvalidArgument("config.json: has no model_type string");
  shape.model_type = type->get<std::string>();
  for (const Bound& bound : kBounds) {
    const auto value = config.find(bound.key);
    if (value == config.end() || !value->is_number_integer()) {
      return InvalidArgument("config.json: has no integer \"" + std::string(bound.key) + "\"");
    }
    shape.*bound.field = value->get<std::int64_t>();
  }
  RETURN_IF_ERROR(CheckBaseShape(shape).Annotate("config.json"));
  return shape;
}

}  // namespace fedpeft
