// SessionConfig: what an execution of secure aggregation is about, as plain numbers that have been checked. The
// coordinator announces it; clients hold it against their policy.
#pragma once

#include <cstdint>
#include <string>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "privacy/crypto/key_agreement.h"
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
  bool signed_survivors = false;

  /// As sent: what the hash is of.
  Bytes Encode() const;
  /// Pre: none. Errors: kInvalidArgument for bytes that are not a configuration of this version, or numbers that make
  /// no sense together.
  static Result<SessionConfig> Decode(ByteSpan bytes);

  CohortSpec CohortOf(std::uint32_t clients) const {
    return {clients, max_corrupt, max_drop_out, threat, signed_survivors};
  }
};

/// How many signatures of survivors a client wants before it gives shares away: more than (1 + corrupt)/2 of the
/// cohort, so that two sets of survivors cannot both have them. Source: privacy/README.md.
std::uint32_t SignatureQuorum(const SessionConfig& config, std::uint32_t clients);

/// The most elements of a vector: what fits memory, far above any adapter.
inline constexpr std::uint64_t kMaxSecureElements = std::uint64_t{1} << 33;

}  // namespace fedpeft::privacy
