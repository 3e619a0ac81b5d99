// What a run's rounds cost in privacy, as the coordinator and `check` reckon it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "configs/run.h"
#include "peft/core/status.h"
#include "privacy/accounting/accountant.h"
#include "privacy/mechanism/correlated.h"

namespace fedpeft {

/// The least noise on the number of clients within the clip norm: it is in halves, and discrete Gaussian noise of fewer
/// than four steps does not cost what Gaussian noise does.
inline constexpr double kLeastCountNoise = 2;

/// The most clients that a round may have: the cohort, or everybody who may join; under differential privacy, where
/// the cohort is only expected, what is never exceeded.
std::uint32_t MostInRound(const RunSpec& run, const PhaseSpec& phase);

// Pre, everywhere below: run.privacy.on().

/// The fewest clients that a round of the phase may draw from. Where clients make the noise, everybody sees that a
/// round of too few is void, and so something of how many were drawn, without noise. Drawn from so many, and while no
/// more of them are lost than max_drop_out says, that happens in any round of the run with a chance that is within the
/// hundredth of δ that is kept for it. Nothing: not even from the whole population.
std::optional<std::uint32_t> FewestToDrawFrom(const RunSpec& run, const PhaseSpec& phase);

/// Where the noise multiplier is left to us (0), sets the least with which all rounds stay within the budget; takes
/// seconds. Pre, of what follows: it is set. Errors: NoiseFor's, RoundRelease's; AdaptiveClip::VectorNoise's;
/// kFailedPrecondition where correlated noise is beyond the budget, which all rounds spend together.
Status ResolveNoise(RunSpec& run);

/// What that round of the run releases, where clients hide themselves of one that is in it; nothing where an earlier
/// round's release is of it too: under correlated noise the first round's is of all. Errors: distributed:
/// SecureSumOf's, none once it has had none.
Result<std::optional<privacy::Release>> RoundRelease(const RunSpec& run, std::uint32_t round);

/// Pre: run.privacy.correlated().
privacy::CorrelationSpec CorrelationOf(const RunSpec& run);

/// What one training of a client releases, the same so many times.
struct TrainingRelease {
  privacy::Release release;
  std::uint64_t times = 1;
};
/// It, by the number of a client's examples.
class TrainingReleases {
 public:
  /// Pre: run.privacy.own(); noise that hides a client is resolved.
  explicit TrainingReleases(RunSpec run) : run_(std::move(run)) {}
  /// Pre: examples ≥ 1. Where the noise that hides an example is left to us, it is the least for so many; that takes
  /// seconds, once. Errors: NoiseFor's.
  Result<TrainingRelease> Of(std::size_t examples);

 private:
  Result<TrainingRelease> Reckon(std::size_t examples) const;

  RunSpec run_;
  std::map<std::size_t, TrainingRelease> known_;
};

/// The clip's rule in that round, its noise on the count chosen where it is left to us. Pre: there is one.
privacy::AdaptiveClip AdaptiveClipOf(const RunSpec& run, std::uint32_t round);

/// The last round of the run that its budget allows after `committed` rounds that released `spent`; `committed` where
/// it allows no more. Takes seconds. Errors: the accountant's.
Result<std::uint32_t> LastAffordableRound(const RunSpec& run, std::uint32_t committed,
                                          const std::vector<privacy::Release>& spent);

/// Whether that ε is within the budget; what is spent to the last by rounding is.
bool IsWithin(double epsilon, const privacy::PrivacyBudget& budget);

/// ε of the run's rounds up to that one, in its δ, less what FewestToDrawFrom takes of it. Errors: the accountant's,
/// RoundRelease's.
Result<double> EpsilonOfRounds(const RunSpec& run, std::uint32_t last);

/// ε of all that, in the same δ. Errors: the accountant's.
Result<double> EpsilonOf(const RunSpec& run, const std::vector<privacy::Release>& releases);

}  // namespace fedpeft
