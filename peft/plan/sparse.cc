// Sparse tuning: some elements of the linears' weights, chosen by the run's seed, are trained as offsets. What is
// chosen never travels, since both ends draw it.
#include <algorithm>
#include <bit>
#include <cmath>

#include "peft/core/hash.h"
#include "peft/core/random.h"
#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"
#include "peft/plan/targets.h"

namespace fedpeft {

Result<std::vector<SparseSite>> SparseSites(const BaseShape& base, const SparseConfig& sparse) {
  if (!(sparse.density > 0 && sparse.density <= 1)) {
    return InvalidArgument("peft.sparse.density: got " + std::to_string(sparse.density) + ", want above 0, at most 1");
  }
  std::vector<std::string> targets = sparse.target_modules;
  if (targets.empty()) targets.emplace_back(kAllLinear);
  ASSIGN_OR_RETURN(const std::vector<Site> sites, SitesAt(targets, LinearSites(base), "peft.sparse.target_modules"));
  std::vector<SparseSite> chosen;
  for (const Site& site : sites) {
    const auto wanted = std::llround(sparse.density * static_cast<double>(site.in * site.out));
    chosen.push_back({site, std::max<std::int64_t>(1, wanted)});
  }
  return chosen;
}

std::vector<std::int64_t> SparseMask(const SparseSite& sparse, std::uint64_t seed) {
  const auto size = static_cast<std::uint64_t>(sparse.site.in * sparse.site.out);
  const auto chosen = static_cast<std::uint64_t>(sparse.chosen);
  RandomStream stream(seed, "mask", {LoadLe<std::uint64_t>(Sha256Of(AsBytes(sparse.site.path + ".weight")))});
  // A bit for each element: distinct by Floyd's rule, in order without sorting.
  constexpr std::uint64_t kBits = 64;
  std::vector<std::uint64_t> taken((size + kBits - 1) / kBits);
  for (std::uint64_t last = size - chosen; last < size; ++last) {
    std::uint64_t at = stream.NextBelow(last + 1);
    if ((taken[at / kBits] >> (at % kBits)) & 1) at = last;
    taken[at / kBits] |= std::uint64_t{1} << (at % kBits);
  }
  std::vector<std::int64_t> mask;
  mask.reserve(chosen);
  for (std::size_t i = 0; i < taken.size(); ++i) {
    for (std::uint64_t word = taken[i]; word != 0; word &= word - 1) {
      mask.push_back(static_cast<std::int64_t>(i * kBits) + std::countr_zero(word));
    }
  }
  return mask;
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const SparseConfig& sparse) {
  ASSIGN_OR_RETURN(const std::vector<SparseSite> sites, SparseSites(at.base, sparse));
  std::vector<TensorSpec> tensors;
  for (const SparseSite& one : sites) {
    tensors.push_back(
        {PeftName(one.site.path, "sparse_values"), {one.chosen}, Role::kSparse, one.site.path, InitLaw()});
  }
  return tensors;
}

}  // namespace fedpeft
