// A round's sum under secure aggregation, as both ends derive it from the run: what the coordinator announces a client
// computes for itself, and takes nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "configs/run.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "privacy/secagg/client_session.h"
#include "privacy/secagg/secure_vector.h"
#include "privacy/secagg/session_config.h"

namespace fedpeft {

/// Numbers that a client counts in its masked vector, in their order.
enum class SecureCount : std::size_t {
  /// The reducer's.
  kWeight,
  /// That it trained on.
  kExamples,
  /// Their training losses together, in units of kGrid.
  kLoss,
};
inline constexpr std::size_t kSecureCounts = 3;

/// The most clients of a sum: signatures of more than half of them, with certificates of some hundred bytes, fit a
/// message.
inline constexpr std::uint64_t kMaxSecureClients = 10'000;

/// What an update of so many examples weighs. Errors: kInvalidArgument for no examples where they are the weight.
Result<std::uint64_t> WeightOf(const ReducerSpec& reducer, std::uint64_t examples);

/// The bounds of a phase's sums, with the bits that the run leaves to us.
/// Errors: kInvalidArgument where no value fits beside the sums of so many clients, weights and noise.
Result<privacy::RingBudget> RingBudgetOf(const RunSpec& run, const PhaseSpec& phase);

struct SecureSumSpec {
  std::string run_id;
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  /// Of the parameters as broadcast.
  Digest model{};
  /// Of the update's layout, and how many values it has.
  Digest payload{};
  std::uint64_t values = 0;
  /// Values are on the grid 2^−exponent; not read where clients make noise: their clip norm decides it.
  int exponent = 0;
};

struct SecureSum {
  /// Without its nonce.
  privacy::SessionConfig config;
  privacy::SecureVectorLayout layout;
};

/// Pre: the round is one of the run; where clients make noise, its multiplier is known. Errors: RingBudgetOf's;
/// SecureVectorLayout's.
Result<SecureSum> SecureSumOf(const RunSpec& run, const SecureSumSpec& spec);

/// What a client of a session adds to its vector. Pre: the run's clients make noise.
Result<privacy::ClientNoise> ClientNoiseOf(const RunSpec& run, const privacy::SessionConfig& config,
                                           std::uint32_t clients);

/// Bytes of a masked vector of so many values, in the phase that has the longest. Errors: SecureSumOf's.
Result<std::uint64_t> LongestSecureVector(const RunSpec& run, std::uint64_t values);

/// The policy of a client allows what the run is. Pre: secure aggregation is on. Errors: kFailedPrecondition with the
/// first phase's reason.
Status CheckPolicy(const RunSpec& run, const privacy::ClientPolicy& policy);

/// A check by the roots in a PEM file; none, which checks nobody, for no file. Errors: the file's; EnrolmentRoots'.
Result<privacy::CheckCertificate> LoadEnrolmentRoots(const std::string& file, privacy::Suite suite);

/// `trusted`, `curious` or `semi_malicious`: what the coordinator is taken for, for logs.
std::string_view ThreatName(const SecureAggregationSpec& secure);

}  // namespace fedpeft
