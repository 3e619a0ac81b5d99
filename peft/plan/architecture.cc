#include "peft/plan/architecture.h"

namespace fedpeft {

namespace {

const std::vector<Architecture>& Rows() {
  static const std::vector<Architecture> rows = [] {
    std::vector<Architecture> all;
    AddBertFamily(all);
    AddDistilBert(all);
    AddGpt2(all);
    AddLlamaFamily(all);
    return all;
  }();
  return rows;
}

}  // namespace

Result<const Architecture*> FindArchitecture(std::string_view model_type) {
  std::string known;
  for (const Architecture& row : Rows()) {
    if (row.model_type == model_type) return &row;
    known.append(known.empty() ? "" : ", ").append(row.model_type);
  }
  return Unimplemented("base.model_type: got \"" + std::string(model_type) + "\", want one of " + known);
}

namespace architecture {

Status CheckFullAttention(const BaseShape& shape) {
  if (shape.kv_heads() != shape.num_attention_heads) {
    return InvalidArgument("base.num_key_value_heads: got " + std::to_string(shape.kv_heads()) +
                           ", want as many as base.num_attention_heads (" + std::to_string(shape.num_attention_heads) +
                           ") in a " + shape.model_type);
  }
  if (shape.head_width() * shape.num_attention_heads != shape.hidden_size) {
    return InvalidArgument("base.head_dim: got " + std::to_string(shape.head_width()) +
                           ", want hidden_size / num_attention_heads in a " + shape.model_type);
  }
  return OkStatus();
}

void AddLayer(const BaseShape& shape, int layer, const std::string& prefix, const LayerRows& rows, BaseSites& sites) {
  sites.attentions.push_back(
      {prefix + rows.attention, layer, shape.num_attention_heads, shape.kv_heads(), shape.head_width()});
  for (const LinearRow& linear : rows.linears) {
    sites.linears.push_back({prefix + linear.name, layer, linear.in, linear.out, linear.bias});
  }
  for (const NormRow& norm : rows.norms) {
    sites.norms.push_back({prefix + norm.name, layer, norm.width, rows.norm_bias});
  }
  sites.sublayers.push_back({prefix + rows.attention_output, layer, shape.hidden_size});
  sites.sublayers.push_back({prefix + rows.feed_forward_output, layer, shape.hidden_size, /*feed_forward=*/true});
}

std::vector<HeadLayer> ScoreHead(const BaseShape& shape, std::int64_t labels) {
  return {{.path = "score", .in = shape.hidden_size, .out = labels, .bias = false, .dropout = false}};
}

}  // namespace architecture

}  // namespace fedpeft
