// What a run's rounds cost in privacy, as the coordinator and `check` reckon it.
#pragma once

#include <cstdint>
#include <vector>

#include "configs/run.h"
#include "peft/core/status.h"
#include "privacy/accounting/accountant.h"

namespace fedpeft {

/// The least noise on the number of clients within the clip norm: it is in halves, and discrete Gaussian noise of fewer
/// than four steps does not cost what Gaussian noise does.
inline constexpr double kLeastCountNoise = 2;

/// The most clients that a round may have: the cohort, or everybody who may join; under differential privacy, where
/// the cohort is only expected, what is never exceeded.
std::uint32_t MostInRound(const RunSpec& run, const PhaseSpec& phase);

// Pre, everywhere below: run.privacy.on().

/// Where the noise multiplier is left to us (0), sets the least with which all rounds stay within the budget; takes
/// seconds. Pre, of what follows: it is set. Errors: NoiseFor's, RoundRelease's; AdaptiveClip::VectorNoise's.
Status ResolveNoise(RunSpec& run);

/// What that round of the run releases; where clients make noise of their own, of one that is in it. Errors:
/// distributed: SecureSumOf's, none once it has had none.
Result<privacy::Release> RoundRelease(const RunSpec& run, std::uint32_t round);

/// The clip's rule in that round, its noise on the count chosen where it is left to us. Pre: there is one.
privacy::AdaptiveClip AdaptiveClipOf(const RunSpec& run, std::uint32_t round);

/// The last round of the run that its budget allows after `committed` rounds that released `spent`; `committed` where
/// it allows no more. Takes seconds. Errors: the accountant's.
Result<std::uint32_t> LastAffordableRound(const RunSpec& run, std::uint32_t committed,
                                          const std::vector<privacy::Release>& spent);

/// Whether that ε is within the budget; what is spent to the last by rounding is.
bool IsWithin(double epsilon, const privacy::PrivacyBudget& budget);

/// ε of all that, in the run's δ. Errors: the accountant's.
Result<double> EpsilonOf(const RunSpec& run, const std::vector<privacy::Release>& releases);

}  // namespace fedpeft
