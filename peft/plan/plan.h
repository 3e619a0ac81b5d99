// Planning: base shape × method → the layout that both ends agree on, and the view that says what of it is trained and
// shared. Torch-free: the coordinator plans too.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peft/core/status.h"
#include "peft/params/layout.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// Low-rank adaptation (Hu et al. 2021): y = W·x + (alpha / rank)·B·A·dropout(x), A [rank, in], B [out, rank].
struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 16;
  /// Probability of zeroing an element of the branch's input while training.
  double dropout = 0;
  /// A site matches a target t when its path is t or ends with `.t`.
  std::vector<std::string> target_modules;

  double scaling() const { return alpha / static_cast<double>(rank); }
};

/// Who owns the classification head: trained and averaged like the rest, or left at its initial values.
enum class HeadPolicy { kShared, kFrozen };

/// Everything that determines the layout of a run.
struct PeftPlan {
  BaseShape base;
  LoraConfig lora;
  /// Number of classes; the head is Linear(hidden_size → labels).
  std::int64_t labels = 0;
  HeadPolicy head = HeadPolicy::kShared;
};

/// The sites LoRA attaches to, in forward order. Errors: kInvalidArgument when a target matches no site (it lists the
/// names that would), for rank outside 1..min(in, out) of a site, or dropout outside [0, 1).
Result<std::vector<Site>> LoraSites(const PeftPlan& plan);

/// For each LoRA site lora_A [rank, in] (uniform ±1/√in, which is peft's kaiming_uniform(√5)) and lora_B [out, rank]
/// (zeros), then the head's weight [labels, in] (normal, std 0.02, as BERT's initializer_range) and bias (zeros).
/// Errors: LoraSites', CheckBaseShape's, and kInvalidArgument for fewer than two labels.
Result<std::shared_ptr<const ParamLayout>> PlanLayout(const PeftPlan& plan);

/// What is trained and shared of the planned layout.
ViewSpec PlanView(const PeftPlan& plan, const ParamLayout& layout);

}  // namespace fedpeft
