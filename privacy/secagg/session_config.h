// SessionConfig: what an execution of secure aggregation is about, as plain numbers that have been checked. The
// coordinator announces it; clients hold it against their policy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/parameters.h"
#include "privacy/secagg/quantize.h"

namespace fedpeft::privacy {

inline constexpr std::uint32_t kSecureVersion = 1;

struct SessionConfig {
  Suite suite = Suite::kX25519;
  std::string run_id;
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  Digest nonce{};
  Digest model{};
  Digest payload{};
  std::uint64_t elements = 0;
  RingBudget budget;
  int exponent = 0;
  std::uint32_t min_clients = 0;
  double max_corrupt = 0;
  double max_drop_out = 0;
  Threat threat = Threat::kSemiMalicious;

  /// As sent: what the hash is of.
  Bytes Encode() const;
  /// Pre: none. Errors: kInvalidArgument for bytes that are not a configuration of this version, or numbers that make
  /// no sense together.
  static Result<SessionConfig> Decode(ByteSpan bytes);

  CohortSpec CohortOf(std::uint32_t clients) const { return {clients, max_corrupt, max_drop_out, threat}; }
  /// Whether survivors sign what they were told before anything is unmasked.
  bool signs() const { return threat == Threat::kSemiMalicious; }
  /// The fewest of a cohort that a sum may be of: min_clients, and all but max_drop_out.
  std::uint32_t FewestOf(std::uint32_t clients) const {
    return std::max(min_clients, clients - FractionOf(max_drop_out, clients));
  }
  /// How many of those keep to the protocol for certain, at least 1.
  std::uint32_t HonestOf(std::uint32_t clients) const {
    return std::max(FewestOf(clients), FractionOf(max_corrupt, clients) + 1) - FractionOf(max_corrupt, clients);
  }
};

/// The key that a certificate gives that client. Errors: kPermissionDenied when it is not the client's, or not signed
/// by a root that this client trusts.
using CheckCertificate = std::function<Result<VerifyingKey>(std::string_view client_id, ByteSpan certificate)>;

/// How many signatures of survivors a client wants before it gives shares away: more than half of the cohort and its
/// corrupt ones together, so that two different statements cannot both have them.
std::uint32_t SignatureQuorum(const SessionConfig& config, std::uint32_t clients);

/// The most elements of a vector: what fits memory, far above any adapter.
inline constexpr std::uint64_t kMaxSecureElements = std::uint64_t{1} << 33;

}  // namespace fedpeft::privacy
