// BERT (Devlin et al. 2018), as transformers' BertForSequenceClassification computes it up to the pooler.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "peft/core/status.h"
#include "peft/model/base_model.h"
#include "peft/model/weights.h"

namespace fedpeft {

/// What of a BERT's config.json the forward pass needs beyond its dimensions.
struct BertSettings {
  Activation activation = Activation::kGelu;
  double norm_epsilon = 1e-12;
  std::int64_t types = 2;
};

/// Keys that config.json leaves out have BERT's defaults. Errors: kUnimplemented for an activation or a kind of
/// position embedding that is not built in; kInvalidArgument for a mistyped value.
Result<BertSettings> BertSettingsFromConfigJson(std::string_view json);

/// Errors: WeightReader's; and kInvalidArgument for a weight that BERT has no place for.
Result<std::shared_ptr<const BaseModel>> MakeBert(const BaseShape& shape, const BertSettings& settings,
                                                  WeightReader& weights);

}  // namespace fedpeft
