// ServerSession: the coordinator's side of one execution of secure aggregation, as a value. It is told what happened
// and says what to do; it owns no thread, socket or clock, and sees no vector: masked uploads are added up elsewhere,
// and in the end it says which masks to take off that sum. No answer of a client crashes it, or makes a wrong sum:
// whoever sends nonsense is dropped like one that is gone, and where too little is left there is no sum.
//
//   advertise keys → share keys → masked vectors → signatures of survivors → unmask → finished
//
// (no signatures where the coordinator is taken to be only curious)
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "peft/core/clock.h"
#include "peft/core/status.h"
#include "privacy/secagg/masks.h"
#include "privacy/secagg/session_config.h"

namespace fedpeft::privacy {

// ---- what happened

/// A serialised SecureAnswer came.
struct SecureAnswered {
  std::string client;
  Bytes answer;
};
/// The client's masked vector is in the sum. Pre: WantsUpload said so, and nothing has been handled since.
struct SecureUploaded {
  std::string client;
};
/// They are gone, for the rest of this execution.
struct SecureDeparted {
  std::vector<std::string> clients;
};
/// Time passed: the first call of all, and when Wakeup() is due.
struct SecureTick {};
using SecureEvent = std::variant<SecureAnswered, SecureUploaded, SecureDeparted, SecureTick>;

// ---- what to do

/// A serialised SecureStep, in two pieces, one after the other: the first is shared by many clients, and so is the
/// second where all are sent the same. Either may be null.
struct SecureStepBytes {
  std::shared_ptr<const Bytes> common, own;

  std::size_t size() const { return (common ? common->size() : 0) + (own ? own->size() : 0); }
  Bytes Joined() const;
};
/// Send a step.
struct SecureAsk {
  std::string client;
  SecureStepBytes step;
};
/// The client is out of this execution; its later messages are not wanted.
struct SecureDrop {
  std::string client;
  std::string reason;
};
/// Shares that were not of the secret they were for: this client, or the one whose secret it is and who dealt them, is
/// broken or lies. It changes nothing.
struct SecureBlame {
  std::string client;
  std::string reason;
};
/// Whose vectors the sum is of, and the masks that make it theirs when they are added to it.
struct SecureFinished {
  std::vector<std::string> clients;
  std::vector<Mask> masks;
};
/// This client certainly broke the protocol, if no more are corrupt than the configuration says: what it dealt gives
/// its secrets back to nobody. To be in no further sum.
struct SecureExpel {
  std::string client;
  std::string reason;
};
/// There is no sum.
struct SecureAborted {
  std::string reason;
};
using SecureAction = std::variant<SecureAsk, SecureDrop, SecureBlame, SecureExpel, SecureFinished, SecureAborted>;

class ServerSession {
 public:
  enum class Stage { kAdvertise, kShare, kUpload, kSign, kUnmask, kFinished, kAborted };

  struct Setup {
    SessionConfig config;
    /// Who is ready; distinct.
    std::vector<std::string> clients;
    /// What clients check each other's identities with, so that a bad one is out before it spoils its neighbours'.
    CheckCertificate check;
    /// For each stage.
    Duration deadline = std::chrono::seconds(60);
    /// For uploads.
    Duration upload_deadline = std::chrono::seconds(600);
  };

  explicit ServerSession(Setup setup);
  ~ServerSession();
  ServerSession(ServerSession&&) noexcept;
  ServerSession& operator=(ServerSession&&) noexcept;

  /// `now` never goes back. The first call asks everybody for keys.
  std::vector<SecureAction> Handle(Instant now, const SecureEvent& event);
  /// When a SecureTick is wanted at the latest.
  std::optional<Instant> Wakeup() const;

  /// Whether this client's masked vector may be added now. One that is not is late, or of nobody.
  bool WantsUpload(const std::string& client) const;
  /// Whether its masked vector is in the sum.
  bool HasUpload(const std::string& client) const;
  Stage stage() const;
  /// Of the cohort, from the second stage on: how many there are, and what they share by.
  std::uint32_t cohort() const;
  GraphParameters parameters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::privacy
