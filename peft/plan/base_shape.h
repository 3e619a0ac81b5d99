// BaseShape and its sites: what planning needs to know of a frozen base model, without its weights and without
// LibTorch. A run's YAML carries it, so that the coordinator plans the same layout as the clients.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft {

/// The dimensions of a base. Names as in Hugging Face's config.json.
struct BaseShape {
  std::string model_type;
  std::int64_t hidden_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;

  bool operator==(const BaseShape&) const = default;
};

/// A place where a PEFT method attaches: so far a linear layer y = x·Wᵀ + b, W [out, in].
struct Site {
  /// Module path in the task model, as Hugging Face names it (`bert.encoder.layer.0.attention.self.query`).
  std::string path;
  /// Encoder layer, or −1 outside of them.
  int layer = -1;
  std::int64_t in = 0;
  std::int64_t out = 0;
};

/// Range checks that bound what planning may allocate. Errors: kInvalidArgument naming the key; kUnimplemented for a
/// model_type that is not built in.
Status CheckBaseShape(const BaseShape& shape);

/// All linear sites of the base in the order of its forward pass, the classification head excluded. Pre: shape checked.
std::vector<Site> LinearSites(const BaseShape& shape);

/// The classification head of the base's task model: its path (`classifier`), `in` and `out` = number of labels.
Site HeadSite(const BaseShape& shape, std::int64_t labels);

/// From the text of a config.json. Errors: kInvalidArgument for a missing or mistyped key, and CheckBaseShape's.
Result<BaseShape> BaseShapeFromConfigJson(std::string_view json);

}  // namespace fedpeft
