#include "configs/privacy.h"

#include <algorithm>
#include <cmath>

#include "aggregation/reducer.h"
#include "configs/secure.h"
#include "privacy/accounting/binomial.h"

namespace fedpeft {

namespace {

/// Of δ, for rounds that are void.
constexpr double kVoidShare = 0.01;

privacy::PrivacyBudget BudgetOfSums(const RunSpec& run) {
  privacy::PrivacyBudget budget = run.privacy.budget;
  if (run.privacy.distributed()) budget.delta *= 1 - kVoidShare;
  return budget;
}

Status AddRounds(const RunSpec& run, std::uint32_t first, std::uint32_t last, privacy::Accountant& accountant) {
  // All of a phase are alike.
  std::uint32_t begin = 1;
  for (const PhaseSpec& phase : run.schedule) {
    const std::uint32_t from = std::max(first, begin), to = std::min(last + 1, begin + phase.rounds);
    begin += phase.rounds;
    if (from >= to) continue;
    ASSIGN_OR_RETURN(const std::optional<privacy::Release> release, RoundRelease(run, from));
    // Correlated noise: the first round's is of all.
    if (release) RETURN_IF_ERROR(accountant.Add(*release, run.privacy.correlated() ? 1 : to - from));
  }
  return OkStatus();
}

Status AddAll(const std::vector<privacy::Release>& releases, privacy::Accountant& accountant) {
  for (const privacy::Release& release : releases) RETURN_IF_ERROR(accountant.Add(release));
  return OkStatus();
}

/// Of clients' noise: all of them together make it, in steps of the grid, so that nothing else is rounded.
Result<std::optional<privacy::Release>> ClientsRelease(const RunSpec& run, std::uint32_t round, double sampling) {
  SecureSumSpec spec;
  spec.round = round;
  spec.values = run.privacy.values;
  ASSIGN_OR_RETURN(const SecureSum sum, SecureSumOf(run, spec));
  privacy::DistributedSum release;
  release.kind = privacy::DistributedSum::Kind::kSkellam;
  release.sampling = sampling;
  release.noise.l2 = sum.layout.Sensitivity(run.privacy.clip);
  release.noise.deviation = run.privacy.noise_multiplier * release.noise.l2;
  release.noise.elements = sum.layout.coded_values();
  // Of whole numbers none is shorter than its square.
  release.noise.l1 =
      std::min(std::sqrt(static_cast<double>(release.noise.elements)), release.noise.l2) * release.noise.l2;
  return std::optional<privacy::Release>(release);
}

/// Correlated noise is for all rounds or none.
Status CheckWhole(const RunSpec& run) {
  ASSIGN_OR_RETURN(const double epsilon, EpsilonOf(run, {privacy::GaussianSum{run.privacy.noise_multiplier}}));
  if (IsWithin(epsilon, run.privacy.budget)) return OkStatus();
  return FailedPrecondition("privacy.budget.epsilon: got " + std::to_string(run.privacy.budget.epsilon) +
                            ", want at least the " + std::to_string(epsilon) + " that all " +
                            std::to_string(run.total_rounds()) +
                            " rounds of dp_ftrl cost together, of which none can "
                            "be had alone (or more noise: privacy.noise_multiplier auto finds the least)");
}

}  // namespace

std::uint32_t MostInRound(const RunSpec& run, const PhaseSpec& phase) {
  if (!run.privacy.sampled()) {
    return static_cast<std::uint32_t>(aggregation::MaxContributions(phase.cohort, run.limits.max_clients));
  }
  if (run.privacy.max_cohort > 0) return run.privacy.max_cohort;
  if (!run.privacy.distributed()) return run.privacy.population;
  // By Chernoff's bound so many come of a Poisson sample with a chance below 1e-15.
  const double most = phase.cohort + 10 * std::sqrt(phase.cohort) + 10;
  return std::min(run.privacy.population, static_cast<std::uint32_t>(most));
}

std::optional<std::uint32_t> FewestToDrawFrom(const RunSpec& run, const PhaseSpec& phase) {
  const std::uint32_t population = run.privacy.population;
  if (!run.privacy.distributed() || phase.cohort >= population) return phase.min_clients;
  // A run whose rounds are void with a chance of β in all is within β, in total variation, of one whose rounds never
  // are: δ + (1 + e^ε)·β.
  const double most = kVoidShare * run.privacy.budget.delta /
                      ((1 + std::exp(run.privacy.budget.epsilon)) * std::max(1u, run.total_rounds()));
  const auto wanted = static_cast<std::uint64_t>(std::ceil(phase.min_clients / (1 - run.secure.max_drop_out)));
  const double sampling = static_cast<double>(phase.cohort) / population;
  const auto enough = [&](std::uint32_t clients) { return privacy::BinomialBelow(clients, sampling, wanted) <= most; };
  if (!enough(population)) return std::nullopt;
  std::uint32_t few = 0, many = population;
  while (many - few > 1) {
    const std::uint32_t middle = few + (many - few) / 2;
    (enough(middle) ? many : few) = middle;
  }
  return std::max(many, phase.min_clients);
}

Result<std::optional<privacy::Release>> RoundRelease(const RunSpec& run, std::uint32_t round) {
  using Found = std::optional<privacy::Release>;
  const double noise = run.privacy.noise_multiplier;
  if (run.privacy.correlated()) return round == 1 ? Found(privacy::GaussianSum{noise}) : Found();
  const std::uint32_t population = run.privacy.population, cap = run.privacy.max_cohort;
  // Over the sensitivity to a client's having other data: twice the norm.
  if (run.privacy.own()) return Found(privacy::GaussianSum{noise / 2});
  const double sampling = static_cast<double>(run.PhaseAt(round).cohort) / population;
  if (run.privacy.distributed()) return ClientsRelease(run, round, sampling);
  if (cap > 0 && cap < population) return Found(privacy::CappedPoissonSum{population, sampling, cap, noise});
  return Found(privacy::PoissonSum{sampling, noise});
}

Status ResolveNoise(RunSpec& run) {
  if (run.privacy.hides_examples()) return OkStatus();  // each client's own
  if (run.privacy.noise_multiplier == 0) {
    RunSpec candidate = run;
    ASSIGN_OR_RETURN(run.privacy.noise_multiplier,
                     privacy::NoiseFor(BudgetOfSums(run), run.privacy.accountant,
                                       [&](privacy::Accountant& accountant, double noise_multiplier) {
                                         candidate.privacy.noise_multiplier = noise_multiplier;
                                         return AddRounds(candidate, 1, candidate.total_rounds(), accountant);
                                       }));
  }
  std::uint32_t round = 1;
  for (const PhaseSpec& phase : run.schedule) {
    if (run.privacy.adaptive) {
      RETURN_IF_ERROR(AdaptiveClipOf(run, round).VectorNoise(run.privacy.noise_multiplier).status());
    }
    round += phase.rounds;
  }
  return run.privacy.correlated() ? CheckWhole(run) : OkStatus();
}

privacy::CorrelationSpec CorrelationOf(const RunSpec& run) {
  return {run.total_rounds(), run.privacy.min_separation};
}

Result<TrainingRelease> TrainingReleases::Of(std::size_t examples) {
  auto known = known_.find(examples);
  if (known == known_.end()) {
    ASSIGN_OR_RETURN(TrainingRelease release, Reckon(examples));
    known = known_.emplace(examples, std::move(release)).first;
  }
  return known->second;
}

Result<TrainingRelease> TrainingReleases::Reckon(std::size_t examples) const {
  if (!run_.privacy.hides_examples()) {
    ASSIGN_OR_RETURN(const std::optional<privacy::Release> release, RoundRelease(run_, 1));
    return TrainingRelease{*release};
  }
  const double rate = std::min(1.0, run_.train.batch_size / static_cast<double>(examples));
  const auto times = static_cast<std::uint64_t>(StepsOf(run_.train, examples));
  double noise = run_.privacy.noise_multiplier;
  if (noise == 0) {
    const auto all = [&](privacy::Accountant& accountant, double candidate) {
      return accountant.Add(privacy::PoissonSum{rate, candidate}, times * run_.total_rounds());
    };
    ASSIGN_OR_RETURN(noise, privacy::NoiseFor(run_.privacy.budget, run_.privacy.accountant, all));
  }
  return TrainingRelease{privacy::PoissonSum{rate, noise}, times};
}

privacy::AdaptiveClip AdaptiveClipOf(const RunSpec& run, std::uint32_t round) {
  privacy::AdaptiveClip adaptive = *run.privacy.adaptive;
  if (adaptive.count_noise == 0) adaptive.count_noise = std::max(kLeastCountNoise, run.PhaseAt(round).cohort / 20.0);
  return adaptive;
}

Result<std::uint32_t> LastAffordableRound(const RunSpec& run, std::uint32_t committed,
                                          const std::vector<privacy::Release>& spent) {
  std::uint32_t good = committed, bad = run.total_rounds() + 1;
  while (bad - good > 1) {
    // All of them first: most budgets are for all.
    const std::uint32_t last = bad > run.total_rounds() ? run.total_rounds() : good + (bad - good) / 2;
    privacy::Accountant accountant(run.privacy.accountant);
    RETURN_IF_ERROR(AddAll(spent, accountant));
    RETURN_IF_ERROR(AddRounds(run, committed + 1, last, accountant));
    (IsWithin(accountant.Epsilon(BudgetOfSums(run).delta), run.privacy.budget) ? good : bad) = last;
  }
  return good;
}

bool IsWithin(double epsilon, const privacy::PrivacyBudget& budget) {
  return epsilon <= budget.epsilon * (1 + 1e-10);
}

Result<double> EpsilonOfRounds(const RunSpec& run, std::uint32_t last) {
  privacy::Accountant accountant(run.privacy.accountant);
  RETURN_IF_ERROR(AddRounds(run, 1, last, accountant));
  return accountant.Epsilon(BudgetOfSums(run).delta);
}

Result<double> EpsilonOf(const RunSpec& run, const std::vector<privacy::Release>& releases) {
  privacy::Accountant accountant(run.privacy.accountant);
  RETURN_IF_ERROR(AddAll(releases, accountant));
  return accountant.Epsilon(BudgetOfSums(run).delta);
}

}  // namespace fedpeft
