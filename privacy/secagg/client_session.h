// ClientSession: a client's side of one execution of secure aggregation, as a value. It is told what the coordinator
// sends and gives the answer; it owns no thread, socket or clock. It trusts the coordinator with nothing that it can
// check: graph, session and keys are computed here, and a client answers one question about others' secrets, once.
//
//   config → keys      cohort → sealed shares      shares → (masks are ready: the masked vector is uploaded), or a
//   complaint about neighbours whose shares do not open, after which it is over
//   survivors → signature, unless the coordinator is only curious
//   unmask → shares of others' secrets; everything secret is then wiped
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/masks.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/session_config.h"
#include "privacy/secagg/session_keys.h"

namespace fedpeft::privacy {

/// What a client insists on, whatever the coordinator announces.
struct ClientPolicy {
  /// The fewest clients that a sum with this one's update may be of.
  std::uint32_t min_clients = kFewestClients;
  /// The fewest shares that a secret takes.
  std::uint32_t min_threshold = 1;
  /// The most bits of an element.
  int max_bits = kMaxRingBits;
  /// At least this fraction of corrupt clients is guarded against.
  double min_corrupt = 0;
  /// Lies about survivors are guarded against.
  bool semi_malicious = true;

  /// Errors: kFailedPrecondition for an execution that it does not allow, with the reason.
  Status Check(const SessionConfig& config) const;
};

/// Who a client is to the others.
struct ClientIdentity {
  /// The enrolment's; null where identities are not used.
  const SigningKey* key = nullptr;
  /// DER.
  Bytes certificate;
};

class ClientSession {
 public:
  struct Setup {
    std::string client_id;
    ClientPolicy policy;
    ClientIdentity identity;
    /// Without one, keys are taken as the coordinator deals them.
    CheckCertificate check;
    RandomSource* random = &RandomSource::System();
  };

  explicit ClientSession(Setup setup);
  ~ClientSession();
  ClientSession(ClientSession&&) noexcept;
  ClientSession& operator=(ClientSession&&) noexcept;

  /// Takes a serialised SecureStep; the serialised SecureAnswer, or nothing where the masked vector is the answer. A
  /// step that comes again gets the same answer; the last one, `unmask`, none: its answer is given once and is the
  /// caller's. Errors: kInvalidArgument for what is no step or does not fit; kFailedPrecondition for one out of order,
  /// or what the policy refuses; kPermissionDenied for signatures that are not their sender's. The session is then
  /// over: everything secret is wiped, and each further step gets the same error.
  Result<std::optional<Bytes>> Handle(ByteSpan step);

  /// The masks are there, and the vector is not yet uploaded.
  bool masking() const;
  /// Adds this client's masks to elements `first`, … of its vector. Pre: masking(); AddMasks's.
  /// Threads: any number at once, on pieces of their own.
  void AddMasksTo(std::uint64_t first, std::span<std::uint32_t> elements) const;
  /// The masked vector is complete, and on its way: what follows is answered from now on. Pre: masking().
  void Masked();

  /// The answer to `unmask` has been given: there is nothing left to do.
  bool answered() const;
  /// The neighbours whose shares did not open: there is nothing left to do, either, once there are some.
  const std::vector<std::string>& accused() const;

  /// From the first step on.
  const SessionConfig& config() const;
  /// From the second step on. How many clients the cohort has.
  const SessionId& id() const;
  std::uint32_t clients() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::privacy
