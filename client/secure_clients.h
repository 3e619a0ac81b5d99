// SecureClients: a process's clients under secure aggregation. Each has at most one session of privacy/secagg, of the
// newest attempt, over the update that it keeps. It knows no network: it is given steps, and gives what to send.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "client/task_queue.h"
#include "client/update_store.h"
#include "configs/run.h"
#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/client_session.h"

namespace fedpeft::client {

/// Threads: Handle from one, CloseRounds from any.
class SecureClients {
 public:
  struct Setup {
    RunSpec run;
    std::string run_id;
    privacy::ClientPolicy policy;
    /// The key of the enrolment's certificate; none: keys go out unsigned.
    std::shared_ptr<const privacy::SigningKey> identity_key;
    Bytes identity_certificate;
    /// Who vouches for others; empty: nobody, and their keys are taken as the coordinator deals them.
    privacy::CheckCertificate check;
  };
  /// `updates` must outlive this object.
  SecureClients(Setup setup, UpdateStore& updates) : setup_(std::move(setup)), updates_(updates) {}

  /// What a step is answered with: a message, or the masked vector.
  struct Reply {
    bool masked = false;
    Bytes bytes;
    /// Of the masked vector: what it is against, and its layout.
    Digest base{};
    Digest layout{};
  };
  /// One step for one client, which holds `examples`. Its answer to an unmask request is given once a round, and on
  /// disk before it is given: another sum of the round with this update in it would tell what the two differ by.
  /// Errors: ClientSession::Handle's; kFailedPrecondition for a session that is not this run's, or one of a round in
  /// which the client has unmasked; kNotFound without an update; the files'. The session is then over.
  Result<Reply> Handle(const TaskKey& key, ByteSpan step, std::uint64_t examples);
  /// Sessions of rounds up to this one are over: what they kept secret is wiped.
  void CloseRounds(std::uint32_t round);

 private:
  struct Client {
    std::uint32_t round = 0;
    std::uint32_t attempt = 0;
    /// None once it is over.
    std::optional<privacy::ClientSession> session;
    /// That its configuration is the run's has been seen.
    bool checked = false;
  };

  Result<Reply> Take(const TaskKey& key, Client& client, ByteSpan step, std::uint64_t examples);
  Result<Client> Begin(const TaskKey& key) const;
  /// That the session is about this run's sum and an update that is here.
  Status CheckConfig(const TaskKey& key, const Client& client) const;
  Result<KeptUpdate> UpdateOf(const TaskKey& key, const Client& client) const;
  Result<Reply> MaskedVector(const TaskKey& key, Client& client, std::uint64_t examples) const;

  const Setup setup_;
  UpdateStore& updates_;
  std::mutex mutex_;
  std::map<std::string, Client> clients_;  // guarded by mutex_
};

}  // namespace fedpeft::client
