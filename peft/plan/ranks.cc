#include "peft/plan/ranks.h"

#include <algorithm>
#include <vector>

namespace fedpeft {

std::vector<RankedSite> RankedSites(const ParamLayout& layout) {
  std::vector<RankedSite> sites;
  const auto& specs = layout.tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    // In the order of their plan (adalora.cc).
    if (specs[i].role == Role::kLoraE) sites.push_back({i - 1, i, i + 1, i + 2, i + 3});
  }
  return sites;
}

std::int64_t RankBudget(const AdaLoraConfig& config, std::int64_t sites, std::uint32_t round, std::uint32_t total) {
  const std::int64_t first = config.lora.rank * sites, last = config.target_rank * sites;
  if (round <= config.warmup_rounds) return first;
  if (round + config.final_rounds >= total) return last;
  const auto fall = static_cast<double>(total - config.final_rounds - config.warmup_rounds);
  const double left = 1 - (round - config.warmup_rounds) / fall;
  return static_cast<std::int64_t>(static_cast<double>(first - last) * left * left * left + static_cast<double>(last));
}

void ZeroUnusedRanks(ParamVector& params) {
  for (const RankedSite& site : RankedSites(*params.layout())) {
    const std::span<const float> mask = params.tensor(site.mask);
    const std::size_t rank = mask.size();
    const std::span<float> a = params.tensor(site.a), b = params.tensor(site.b);
    for (std::size_t k = 0; k < rank; ++k) {
      if (mask[k] != 0) continue;
      const std::size_t in = a.size() / rank;
      std::fill_n(a.begin() + static_cast<std::ptrdiff_t>(k * in), in, 0.0f);
      params.tensor(site.e)[k] = params.tensor(site.score)[k] = 0;
      for (std::size_t row = k; row < b.size(); row += rank) b[row] = 0;
    }
  }
}

void AllocateRanks(const MethodConfig& method, std::uint32_t round, std::uint32_t total, ParamVector& params) {
  const auto* config = std::get_if<AdaLoraConfig>(&method);
  if (config == nullptr) return;
  const std::vector<RankedSite> sites = RankedSites(*params.layout());
  struct Triplet {
    float score = 0;
    float* mask = nullptr;
  };
  std::vector<Triplet> used;
  for (const RankedSite& site : sites) {
    const std::span<float> mask = params.tensor(site.mask), score = params.tensor(site.score);
    for (std::size_t k = 0; k < mask.size(); ++k) {
      if (mask[k] != 0) used.push_back({score[k], &mask[k]});
    }
  }
  const auto budget =
      static_cast<std::size_t>(RankBudget(*config, static_cast<std::int64_t>(sites.size()), round, total));
  if (used.size() <= budget) return;
  std::stable_sort(used.begin(), used.end(), [](const Triplet& x, const Triplet& y) { return x.score > y.score; });
  for (std::size_t i = budget; i < used.size(); ++i) *used[i].mask = 0;
  ZeroUnusedRanks(params);
}

}  // namespace fedpeft
