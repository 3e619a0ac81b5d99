#include "configs/privacy.h"

#include <algorithm>

namespace fedpeft {

namespace {

/// Rounds `first` to `last`, all of a phase at a time.
Status AddRounds(const RunSpec& run, double noise_multiplier, std::uint32_t first, std::uint32_t last,
                 privacy::Accountant& accountant) {
  for (std::uint32_t round = first; round <= last; ++round) {
    RETURN_IF_ERROR(accountant.Add(RoundRelease(run, round, noise_multiplier)));
  }
  return OkStatus();
}

Status AddAll(const std::vector<privacy::Release>& releases, privacy::Accountant& accountant) {
  for (const privacy::Release& release : releases) RETURN_IF_ERROR(accountant.Add(release));
  return OkStatus();
}

/// By ten billionths: what a budget is spent to the last by is not over it.
constexpr double kOver = 1 + 1e-10;

}  // namespace

privacy::Release RoundRelease(const RunSpec& run, std::uint32_t round, double noise_multiplier) {
  const std::uint32_t population = run.privacy.population, cap = run.privacy.max_cohort;
  const double sampling = static_cast<double>(run.PhaseAt(round).cohort) / population;
  if (cap > 0 && cap < population) return privacy::CappedPoissonSum{population, sampling, cap, noise_multiplier};
  return privacy::PoissonSum{sampling, noise_multiplier};
}

Result<double> NoiseMultiplierOf(const RunSpec& run) {
  double noise = run.privacy.noise_multiplier;
  if (noise == 0) {
    ASSIGN_OR_RETURN(noise, privacy::NoiseFor(run.privacy.budget, run.privacy.accountant,
                                              [&](privacy::Accountant& accountant, double noise_multiplier) {
                                                return AddRounds(run, noise_multiplier, 1, run.total_rounds(),
                                                                 accountant);
                                              }));
  }
  std::uint32_t round = 1;
  for (const PhaseSpec& phase : run.schedule) {
    if (run.privacy.adaptive) RETURN_IF_ERROR(AdaptiveClipOf(run, round).VectorNoise(noise).status());
    round += phase.rounds;
  }
  return noise;
}

privacy::AdaptiveClip AdaptiveClipOf(const RunSpec& run, std::uint32_t round) {
  privacy::AdaptiveClip adaptive = *run.privacy.adaptive;
  if (adaptive.count_noise == 0) adaptive.count_noise = std::max(kLeastCountNoise, run.PhaseAt(round).cohort / 20.0);
  return adaptive;
}

Result<std::uint32_t> LastAffordableRound(const RunSpec& run, double noise_multiplier, std::uint32_t committed,
                                          const std::vector<privacy::Release>& spent) {
  std::uint32_t good = committed, bad = run.total_rounds() + 1;
  while (bad - good > 1) {
    // All of them first: most budgets are for all.
    const std::uint32_t last = bad > run.total_rounds() ? run.total_rounds() : good + (bad - good) / 2;
    privacy::Accountant accountant(run.privacy.accountant);
    RETURN_IF_ERROR(AddAll(spent, accountant));
    RETURN_IF_ERROR(AddRounds(run, noise_multiplier, committed + 1, last, accountant));
    (accountant.Epsilon(run.privacy.budget.delta) <= run.privacy.budget.epsilon * kOver ? good : bad) = last;
  }
  return good;
}

Result<double> EpsilonOf(const RunSpec& run, const std::vector<privacy::Release>& releases) {
  privacy::Accountant accountant(run.privacy.accountant);
  RETURN_IF_ERROR(AddAll(releases, accountant));
  return accountant.Epsilon(run.privacy.budget.delta);
}

}  // namespace fedpeft
