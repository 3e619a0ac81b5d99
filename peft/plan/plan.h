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
#include "peft/plan/method.h"
#include "peft/plan/sites.h"

namespace fedpeft {

/// Who owns the classification head: trained and averaged like the rest, trained and kept by each client, or left at
/// its initial values.
enum class HeadPolicy { kShared, kFrozen, kLocal };

/// What of the planned tensors a round trains and shares. The default is all of them, but for what the head's policy
/// says. Parts are roles by name (RoleName): `lora_a`, `head`, …
struct ViewConfig {
  /// Parts that each client trains and keeps.
  std::vector<std::string> local = {};
  /// Parts that stay as they are.
  std::vector<std::string> frozen = {};
  /// Of the method's tensors only those at sites of these layers of the base are trained; empty: of all.
  std::vector<std::int64_t> layers = {};
};

/// Everything that determines the layout of a run.
struct PeftPlan {
  BaseShape base;
  MethodConfig method;
  /// Outputs of the head: the number of classes, 1 for regression, 0 for language modelling, which has none.
  std::int64_t labels = 0;
  HeadPolicy head = HeadPolicy::kShared;
};

/// A linear with a low-rank branch.
struct LoraSite {
  Site site;
  std::int64_t rank = 0;
  double alpha = 0;
  /// alpha / rank, or alpha / √rank.
  double scale = 0;
};
/// In forward order. Errors: kInvalidArgument when a target or pattern matches no site, for a layer that the base does
/// not have, a rank outside 1..max(in, out) of a site, or dropout outside [0, 1).
Result<std::vector<LoraSite>> LoraSites(const BaseShape& base, const LoraConfig& lora);

/// The same of AdaLoRA, the rank being its initial one. Errors: likewise, and for a target_rank outside 1..initial
/// rank.
Result<std::vector<LoraSite>> AdaLoraSites(const BaseShape& base, const AdaLoraConfig& config);

struct Ia3Site {
  Site site;
  /// Else its output.
  bool scales_input = false;
};
/// In forward order. Errors: kInvalidArgument when a target matches no site, or scales an input and is no target.
Result<std::vector<Ia3Site>> Ia3Sites(const BaseShape& base, const Ia3Config& ia3);

/// A linear with trained elements in its weight.
struct SparseSite {
  Site site;
  /// How many.
  std::int64_t chosen = 0;
};
/// In forward order. Errors: kInvalidArgument when a target matches no site, or for a density outside (0, 1].
Result<std::vector<SparseSite>> SparseSites(const BaseShape& base, const SparseConfig& sparse);
/// Which elements of the site's weight [out, in], row-major; ascending. Every set of so many is equally likely. Cost:
/// `chosen` draws and a bit for each element.
std::vector<std::int64_t> SparseMask(const SparseSite& sparse, std::uint64_t seed);

/// The first of the layers whose attention the adapter joins. Errors: kInvalidArgument for a length below 1 or more
/// layers than the base has; kFailedPrecondition for an encoder.
Result<std::int64_t> FirstAdaptedLayer(const BaseShape& base, const LlamaAdapterConfig& adapter);

/// The linears that the method attaches to; none for one that attaches elsewhere. Errors: those of the method's sites.
Result<std::vector<Site>> AdaptedLinears(const PeftPlan& plan);

/// These linears as an adapter's configuration has to list them, so that `peft` finds them and no others: the `targets`
/// of the run as they are, or full paths where a word names more. Pre: AdaptedLinears succeeds.
std::vector<std::string> PeftTargets(const PeftPlan& plan, const std::vector<std::string>& targets);

/// What `peft` calls a parameter of the module at `path`: `base_model.model.PATH.SUFFIX`.
std::string PeftName(const std::string& path, std::string_view suffix);
/// The same of the classification head: `base_model.PATH.SUFFIX` where the method leaves the base's modules alone and
/// puts virtual tokens before the text.
std::string HeadName(const MethodConfig& method, const std::string& path, std::string_view suffix);

/// The method's tensors (method_plans.h), then for each layer of the head its weight [out, in] (normal, std 0.02,
/// transformers' initializer_range) and, where it has one, its bias (zeros).
/// Errors: the method's, CheckBaseShape's, and kInvalidArgument for no output of the head.
Result<std::shared_ptr<const ParamLayout>> PlanLayout(const PeftPlan& plan);

/// Names of parts that a key lists.
struct PartList {
  std::string key;
  const std::vector<std::string>& parts;
};
/// Errors: kInvalidArgument, beginning with the key: a part that is none of the layout's, or that is named twice.
Status CheckParts(const ParamLayout& layout, const std::vector<PartList>& lists);

/// What is trained and shared of the layout that PlanLayout(plan) made.
/// Errors: kInvalidArgument, beginning with the key: a part that the layout does not have, or that is named twice; a
/// layer that the base does not have, or in which the method has no tensor; nothing that is shared; with AdaLoRA, a
/// part of it that is not.
Result<ViewSpec> PlanView(const PeftPlan& plan, const ParamLayout& layout, const ViewConfig& config);
/// The same of the default ViewConfig, which has no errors.
ViewSpec PlanView(const PeftPlan& plan, const ParamLayout& layout);

/// The lower part of a base, in which nothing is trained.
struct UntrainedPart {
  /// The layer that it ends below: the number of layers when the head alone is trained, 0 (nothing is such a part) when
  /// something is that spans the layers or is in none.
  std::size_t layer = 0;
  /// The layout's tensors that may take part in it.
  std::vector<std::size_t> tensors;
};
/// When `train` says which tensors are trained.
UntrainedPart UntrainedBelow(const PeftPlan& plan, const ParamLayout& layout, const std::vector<bool>& train);

}  // namespace fedpeft
