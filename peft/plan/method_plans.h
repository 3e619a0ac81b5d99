// The tensors of each method on a base, in forward order. Internal to peft/plan: others use plan.h.
#pragma once

#include <string>
#include <vector>

#include "peft/core/status.h"
#include "peft/params/layout.h"
#include "peft/plan/method.h"
#include "peft/plan/plan.h"
#include "peft/plan/sites.h"

namespace fedpeft {

/// Where tensors are planned: the base, and whether its own head predicts the next token instead of a classifier.
struct PlanContext {
  const BaseShape& base;
  const BaseSites& sites;
  bool language = false;
};

// All: Errors: kInvalidArgument naming the key of a setting that does not fit the base; kFailedPrecondition for a
// method that makes no sense on it, with the reason.
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const LoraConfig& lora);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const AdaLoraConfig& config);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const Ia3Config& ia3);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const BottleneckConfig& adapter);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const PrefixConfig& prefix);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const PromptConfig& prompt);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const OffsetConfig& offset);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const SparseConfig& sparse);
Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const LlamaAdapterConfig& adapter);

/// What a run calls the settings of a LoraConfig, for error messages: LoRA's own, or those of a method around it.
struct LoraKeys {
  std::string method = "peft.lora";
  std::string rank = "rank";
};
/// LoraSites, with these names in its errors.
Result<std::vector<LoraSite>> LoraSitesNamed(const BaseShape& base, const LoraConfig& lora, const LoraKeys& keys);

/// Uniform in ±1/√in, what torch's linears and peft's LoRA start with (kaiming_uniform(√5)).
InitLaw KaimingLaw(std::int64_t in);

}  // namespace fedpeft
