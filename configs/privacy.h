// What a run's rounds cost in privacy, as the coordinator and `check` reckon it.
#pragma once

#include <cstdint>
#include <optional>
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

/// Where the noise multiplier is left to us (0), sets the least with which all rounds stay within the budget; takes
/// seconds. Pre, of what follows: it is set. Errors: NoiseFor's, RoundRelease's; AdaptiveClip::VectorNoise's;
/// kFailedPrecondition where correlated noise is beyond the budget, which all rounds spend together.
Status ResolveNoise(RunSpec& run);

/// What that round of the run releases; nothing where an earlier round's release is of it too: under correlated noise
/// the first round's is of all. Errors: distributed: SecureSumOf's, none once it has had none.
Result<std::optional<privacy::Release>> RoundRelease(const RunSpec& run, std::uint32_t round);

/// Pre: run.privacy.correlated().
privacy::CorrelationSpec CorrelationOf(const RunSpec& run);

/// The clip's rule in that round, its noise on the count chosen where it is left to us. Pre: there is one.
privacy::AdaptiveClip AdaptiveClipOf(const RunSpec& run, std::uint32_t round);

/// The last round of the run that its budget allows after `committed` rounds that released `spent`; `committed` where
/// it allows no more. Takes seconds. Errors: the accountant's.
Result<std::uint32_t> LastAffordableRound(const RunSpec& run, std::uint32_t committed,
                                          const std::vector<privacy::Release>& spent);

/// ε of all that, in the run's δ. Errors: the accountant's.
Result<double> EpsilonOf(const RunSpec& run, const std::vector<privacy::Release>& releases);

}  // namespace fedpeft
