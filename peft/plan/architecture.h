// Architecture: what planning knows of one family of bases. A family is one short file beside this one, and a row in
// architecture.cc; its forward pass is in peft/model. Internal to peft/plan: others use base_config.h and sites.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/plan/base_config.h"
#include "peft/plan/config_reader.h"
#include "peft/plan/sites.h"

namespace fedpeft {

struct Architecture {
  std::string_view model_type;
  /// What peft 0.21 takes for it, or for its like.
  std::vector<std::string_view> default_targets;
  /// The same of (IA)³; of the last the input is scaled.
  std::vector<std::string_view> ia3_targets;
  /// Shape and settings with the defaults of transformers; errors stay in the reader.
  void (*read)(ConfigReader& reader, BaseConfig& config) = nullptr;
  /// Rules of this family across the dimensions, whose ranges are checked already.
  Status (*check)(const BaseShape& shape) = nullptr;
  void (*sites)(const BaseShape& shape, BaseSites& sites) = nullptr;
  std::vector<HeadLayer> (*head)(const BaseShape& shape, std::int64_t labels) = nullptr;
  bool predicts_next_token = false;
};

/// Errors: kUnimplemented, listing the families there are.
Result<const Architecture*> FindArchitecture(std::string_view model_type);

// One function a file of a family, which appends its rows.
void AddBertFamily(std::vector<Architecture>& rows);
void AddDistilBert(std::vector<Architecture>& rows);
void AddGpt2(std::vector<Architecture>& rows);
void AddLlamaFamily(std::vector<Architecture>& rows);

/// What several families need.
namespace architecture {

/// Every head has its own keys and values, and together they are as wide as the model. Errors: kInvalidArgument.
Status CheckFullAttention(const BaseShape& shape);

struct LinearRow {
  const char* name;
  std::int64_t in;
  std::int64_t out;
  bool bias = true;
};
struct NormRow {
  const char* name;
  std::int64_t width;
};
/// Names of one layer, without its prefix.
struct LayerRows {
  const char* attention;
  std::vector<LinearRow> linears;
  std::vector<NormRow> norms;
  bool norm_bias = true;
  /// The last linear of the attention, and of the feed-forward.
  const char* attention_output;
  const char* feed_forward_output;
};
/// Appends layer `layer`, its paths being `prefix` + name.
void AddLayer(const BaseShape& shape, int layer, const std::string& prefix, const LayerRows& rows, BaseSites& sites);

/// The head of decoders: one linear without bias on the last token.
std::vector<HeadLayer> ScoreHead(const BaseShape& shape, std::int64_t labels);

}  // namespace architecture

}  // namespace fedpeft
