// Ranks of AdaLoRA: each adapted linear has triplets (a row of A, a value of E, a column of B), of which a mask says
// which are in use. The coordinator owns the mask: after a round it keeps those that clients scored highest, by a
// budget that falls over the rounds. Torch-free: training in one place keeps them by the same rule.
#pragma once

#include <cstdint>
#include <vector>

#include "peft/params/param_vector.h"
#include "peft/plan/method.h"

namespace fedpeft {

/// The tensors of one site, by their numbers in the layout.
struct RankedSite {
  std::size_t a = 0, e = 0, b = 0, mask = 0, score = 0;
};
/// Of AdaLoRA's layout, in its order; of another method's none.
std::vector<RankedSite> RankedSites(const ParamLayout& layout);

/// Triplets in use after round `round` of `total`: initial_rank a site until `warmup_rounds` are over, target_rank a
/// site in the last `final_rounds`, a cubic fall between. Source: Zhang et al. 2023, equation 12; steps as peft 0.21
/// counts them, a step being a round.
std::int64_t RankBudget(const AdaLoraConfig& config, std::int64_t sites, std::uint32_t round, std::uint32_t total);

/// What round `round` leaves in use: of the triplets that are, the budget's highest scores, the earlier one of equals.
/// The others' mask, values and scores become zero, and so stay. Of another method nothing changes. Pre: `params` has
/// the layout of the method.
void AllocateRanks(const MethodConfig& method, std::uint32_t round, std::uint32_t total, ParamVector& params);

/// Makes zero what belongs to triplets that are not in use.
void ZeroUnusedRanks(ParamVector& params);

}  // namespace fedpeft
