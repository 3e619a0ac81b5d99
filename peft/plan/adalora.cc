#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

constexpr double kStd = 0.02;

Status Check(const AdaLoraConfig& config) {
  if (config.target_rank < 1 || config.target_rank > config.lora.rank) {
    return InvalidArgument("peft.adalora.target_rank: got " + std::to_string(config.target_rank) + ", want 1 to " +
                           std::to_string(config.lora.rank) + " (peft.adalora.initial_rank)");
  }
  for (const double beta : {config.beta1, config.beta2}) {
    if (!(beta >= 0 && beta < 1)) {
      return InvalidArgument("peft.adalora.beta1 and beta2: got " + std::to_string(beta) + ", want 0 to below 1");
    }
  }
  return OkStatus();
}

}  // namespace

Result<std::vector<LoraSite>> AdaLoraSites(const BaseShape& base, const AdaLoraConfig& config) {
  RETURN_IF_ERROR(Check(config));
  ASSIGN_OR_RETURN(std::vector<LoraSite> sites, LoraSitesNamed(base, config.lora, {"peft.adalora", "initial_rank"}));
  // Of peft, which avoids a division by zero that cannot be.
  for (LoraSite& site : sites) site.scale = site.alpha / (static_cast<double>(site.rank) + 1e-5);
  return sites;
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const AdaLoraConfig& config) {
  ASSIGN_OR_RETURN(const std::vector<LoraSite> sites, AdaLoraSites(at.base, config));
  std::vector<TensorSpec> tensors;
  for (const LoraSite& one : sites) {
    const Site& site = one.site;
    const auto add = [&](const char* suffix, std::vector<std::int64_t> shape, Role role, InitLaw law) {
      tensors.push_back({PeftName(site.path, suffix), std::move(shape), role, site.path, law});
    };
    const InitLaw normal{InitLaw::Kind::kNormal, kStd};
    add("lora_A", {one.rank, site.in}, Role::kLoraA, normal);
    add("lora_E", {one.rank, 1}, Role::kLoraE, {});
    add("lora_B", {site.out, one.rank}, Role::kLoraB, normal);
    add("rank_mask", {one.rank}, Role::kRankMask, {InitLaw::Kind::kOnes, 0});
    add("rank_score", {one.rank}, Role::kRankScore, {});
  }
  return tensors;
}

}  // namespace fedpeft
