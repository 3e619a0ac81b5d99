#include <algorithm>

#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"
#include "peft/plan/targets.h"

namespace fedpeft {

Result<std::vector<Ia3Site>> Ia3Sites(const BaseShape& base, const Ia3Config& ia3) {
  const bool defaults = ia3.target_modules.empty();
  if (defaults && !ia3.feedforward_modules.empty()) {
    return InvalidArgument("peft.ia3.feedforward_modules: is given without target_modules, want both or none");
  }
  const Ia3Config wanted = defaults ? Ia3Config{DefaultIa3Targets(base), DefaultIa3FeedForward(base)} : ia3;
  const std::vector<Site> all = LinearSites(base);
  ASSIGN_OR_RETURN(const std::vector<Site> sites, SitesAt(wanted.target_modules, all, "peft.ia3.target_modules"));
  ASSIGN_OR_RETURN(const std::vector<Site> inputs,
                   SitesAt(wanted.feedforward_modules, all, "peft.ia3.feedforward_modules"));
  for (const Site& site : inputs) {
    if (!wanted.target_modules.empty() && wanted.target_modules[0] != kAllLinear &&
        !MatchesAnyTarget(site.path, wanted.target_modules)) {
      return InvalidArgument("peft.ia3.feedforward_modules: " + site.path + " is not among target_modules");
    }
  }
  std::vector<Ia3Site> chosen;
  for (const Site& site : sites) {
    const auto is_it = [&](const Site& input) { return input.path == site.path; };
    chosen.push_back({site, std::any_of(inputs.begin(), inputs.end(), is_it)});
  }
  return chosen;
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const Ia3Config& ia3) {
  ASSIGN_OR_RETURN(const std::vector<Ia3Site> sites, Ia3Sites(at.base, ia3));
  std::vector<TensorSpec> tensors;
  for (const Ia3Site& one : sites) {
    const std::vector<std::int64_t> shape =
        one.scales_input ? std::vector<std::int64_t>{1, one.site.in} : std::vector<std::int64_t>{one.site.out, 1};
    tensors.push_back(
        {PeftName(one.site.path, "ia3_l"), shape, Role::kScale, one.site.path, {InitLaw::Kind::kOnes, 0}});
  }
  return tensors;
}

}  // namespace fedpeft
