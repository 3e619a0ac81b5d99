// Planning: base shape × method → the layout that both ends agree on, and the view that says what of it is trained and
// shared. Torch-free: the coordinator plans too.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/params/layout.h"
#include "peft/plan/base_shape.h"
#include "peft/plan/sites.h"

namespace fedpeft {

/// Low-rank adaptation (Hu et al. 2021): y = W·x + (alpha / rank)·B·A·dropout(x), A [rank, in], B [out, rank].
struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 16;
  /// Probability of zeroing an element of the branch's input while training.
  double dropout = 0;
  /// A site matches a target t when its path is t or ends with `.t`. Empty: the base's DefaultTargets.
  std::vector<std::string> target_modules;

  double scaling() const { return alpha / static_cast<double>(rank); }
};

/// Who owns the classification head: trained and averaged like the rest, or left at its initial values.
enum class HeadPolicy { kShared, kFrozen };

/// Everything that determines the layout of a run.
struct PeftPlan {
  BaseShape base;
  LoraConfig lora;
  /// Outputs of the head: the number of classes, 1 for regression, 0 for language modelling, which has none.
  std::int64_t labels = 0;
  HeadPolicy head = HeadPolicy::kShared;
};

/// The sites LoRA attaches to, in forward order. Errors: kInvalidArgument when a target matches no site (it lists the
/// names that would), for rank outside 1..min(in, out) of a site, or dropout outside [0, 1).
Result<std::vector<Site>> LoraSites(const PeftPlan& plan);

/// The targets as an adapter's configuration has to list them, so that `peft` finds these sites and no others: the
/// run's words, or full paths where a word names a layer of the classification head as well. Pre: LoraSites succeeds.
std::vector<std::string> PeftTargets(const PeftPlan& plan);

/// What `peft` calls a parameter of the module at `path`: `base_model.model.PATH.SUFFIX`.
std::string PeftName(const std::string& path, std::string_view suffix);

/// For each LoRA site lora_A [rank, in] (uniform ±1/√in, which is peft's kaiming_uniform(√5)) and lora_B [out, rank]
/// (zeros), then for each layer of the head its weight [out, in] (normal, std 0.02, transformers' initializer_range)
/// and, where it has one, its bias (zeros).
/// Errors: LoraSites', CheckBaseShape's, and kInvalidArgument for no output of the head.
Result<std::shared_ptr<const ParamLayout>> PlanLayout(const PeftPlan& plan);

/// What is trained and shared of the planned layout.
ViewSpec PlanView(const PeftPlan& plan, const ParamLayout& layout);

}  // namespace fedpeft
