#include <algorithm>
#include <cmath>

#include "peft/io/adapter_tensors.h"
#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"
#include "peft/plan/targets.h"

namespace fedpeft {

namespace {

Status Check(const LoraConfig& lora, const BaseShape& base, const LoraKeys& keys) {
  if (lora.rank < 1)
    return InvalidArgument(keys.method + "." + keys.rank + ": got " + std::to_string(lora.rank) + ", want at least 1");
  if (!(lora.dropout >= 0 && lora.dropout < 1)) {
    return InvalidArgument(keys.method + ".dropout: got " + std::to_string(lora.dropout) + ", want 0 to below 1");
  }
  if (!(std::isfinite(lora.alpha) && lora.alpha > 0)) {
    return InvalidArgument(keys.method + ".alpha: got " + std::to_string(lora.alpha) + ", want a positive number");
  }
  for (const std::int64_t layer : lora.layers) {
    if (layer < 0 || layer >= base.num_hidden_layers) {
      return InvalidArgument(keys.method + ".layers: got " + std::to_string(layer) + ", want 0 to " +
                             std::to_string(base.num_hidden_layers - 1));
    }
  }
  return OkStatus();
}

bool IsChosen(const LoraConfig& lora, const Site& site) {
  return lora.layers.empty() || std::find(lora.layers.begin(), lora.layers.end(), site.layer) != lora.layers.end();
}

/// Its own rank and scale, by the pattern that matches.
Result<LoraSite> At(const LoraConfig& lora, const Site& site, const LoraKeys& keys, std::vector<bool>& used) {
  LoraSite out{site, lora.rank, lora.alpha, 0};
  bool matched = false;
  for (std::size_t i = 0; i < lora.patterns.size(); ++i) {
    const LoraPattern& pattern = lora.patterns[i];
    if (!MatchesModule(site.path, pattern.module)) continue;
    const std::string key = keys.method + ".patterns." + std::to_string(i) + ".module";
    if (pattern.rank == 0 && pattern.alpha == 0) return InvalidArgument(key + ": has neither a rank nor an alpha");
    if (matched) return InvalidArgument(key + ": \"" + pattern.module + "\" is a second pattern for " + site.path);
    matched = used[i] = true;
    if (pattern.rank > 0) out.rank = pattern.rank;
    if (pattern.alpha > 0) out.alpha = pattern.alpha;
  }
  if (out.rank > std::max(site.in, site.out)) {
    return InvalidArgument(keys.method + "." + keys.rank + ": got " + std::to_string(out.rank) + ", want at most " +
                           std::to_string(std::max(site.in, site.out)) + ", the larger side of " + site.path);
  }
  const auto rank = static_cast<double>(out.rank);
  out.scale = out.alpha / (lora.use_rslora ? std::sqrt(rank) : rank);
  return out;
}

}  // namespace

Result<std::vector<LoraSite>> LoraSites(const BaseShape& base, const LoraConfig& lora) {
  return LoraSitesNamed(base, lora, {});
}

Result<std::vector<LoraSite>> LoraSitesNamed(const BaseShape& base, const LoraConfig& lora, const LoraKeys& keys) {
  RETURN_IF_ERROR(Check(lora, base, keys));
  const std::vector<std::string> targets = lora.target_modules.empty() ? DefaultTargets(base) : lora.target_modules;
  ASSIGN_OR_RETURN(const std::vector<Site> matched,
                   SitesAt(targets, LinearSites(base), keys.method + ".target_modules"));
  std::vector<LoraSite> chosen;
  std::vector<bool> used(lora.patterns.size(), false);
  for (const Site& site : matched) {
    if (!IsChosen(lora, site)) continue;
    ASSIGN_OR_RETURN(LoraSite at, At(lora, site, keys, used));
    chosen.push_back(std::move(at));
  }
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (used[i]) continue;
    return InvalidArgument(keys.method + ".patterns." + std::to_string(i) + ".module: \"" + lora.patterns[i].module +
                           "\" matches none of the adapted linears");
  }
  if (!chosen.empty()) return chosen;
  return InvalidArgument(keys.method + ".layers: no target is in one of these layers");
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const LoraConfig& lora) {
  ASSIGN_OR_RETURN(const std::vector<LoraSite> sites, LoraSites(at.base, lora));
  std::vector<TensorSpec> tensors;
  for (const LoraSite& one : sites) {
    const Site& site = one.site;
    const auto add = [&](const char* suffix, std::vector<std::int64_t> shape, Role role, InitLaw law) {
      tensors.push_back({PeftName(site.path, suffix), std::move(shape), role, site.path, law});
    };
    add("lora_A.weight", {one.rank, site.in}, Role::kLoraA, KaimingLaw(site.in));
    add("lora_B.weight", {site.out, one.rank}, Role::kLoraB, {});
    if (lora.use_dora) add("lora_magnitude_vector", {site.out}, Role::kMagnitude, {});
  }
  return tensors;
}

}  // namespace fedpeft
