// How many neighbours a client shares its secrets with, and how many shares give a secret back: picked for a cohort so
// that the bounds of the threat model hold. Both sides can compute it; the client's policy does before it takes part.
#pragma once

#include <cstdint>

#include "peft/core/status.h"

namespace fedpeft::privacy {

/// What the coordinator may do. Corrupt clients share with it all that they know, under each of these.
enum class Threat {
  /// It follows the protocol and looks at what it gets.
  kCurious,
  /// It also lies about who shared and who is still there, after the keys were dealt honestly. Survivors then sign what
  /// they were told before anything is unmasked, on top of the stricter bounds.
  kSemiMalicious,
};

/// A cohort and what may go wrong in it.
struct CohortSpec {
  std::uint32_t clients = 0;
  /// The fraction of clients that may share what they know with the coordinator.
  double max_corrupt = 0;
  /// The fraction of clients that may be lost after they have shared their secrets.
  double max_drop_out = 0;
  Threat threat = Threat::kSemiMalicious;
};

struct GraphParameters {
  /// Neighbours of a client, without itself: even, or clients − 1 (everybody).
  std::uint32_t degree = 0;
  /// Shares that give a secret back. Each neighbour has one, and so has the client itself of its own mask's seed.
  std::uint32_t threshold = 0;

  bool operator==(const GraphParameters&) const = default;
};

/// Up to this many clients everybody is everybody's neighbour.
inline constexpr std::uint32_t kCompleteGraphClients = 64;
/// Sums of fewer say too much about each, whoever asks.
inline constexpr std::uint32_t kFewestClients = 5;

/// The smallest degree for which all of this holds, and the largest threshold with it:
///   connected:  with all that may be lost or corrupt gone, the rest hangs together but for 2^−41
///   private:    nobody's secrets can be put together by coordinator and corrupt clients, but for 2^−41 a cohort; with
///               kSemiMalicious also when some neighbours are told that a client is there and others that it is not
///   alive:      every secret has its threshold of shares after the worst loss, but for 2^−20 a cohort
/// A complete graph for small cohorts, with threshold ⌊(clients + corrupt)/2⌋ + 1, and where no smaller degree will do.
/// The same numbers on every processor. Errors: kInvalidArgument for fewer than kFewestClients or fractions outside
/// [0, 1); kFailedPrecondition where corruption and loss together leave no threshold.
/// Source: Bell et al. 2020 (SecAgg+), section 3, with exact hypergeometric tails and the client's own share counted.
Result<GraphParameters> FindGraphParameters(const CohortSpec& cohort);

/// How many of the clients a fraction is, rounded down.
std::uint32_t FractionOf(double fraction, std::uint32_t clients);

}  // namespace fedpeft::privacy
