// The registry of sessions: who is joined, under which token, with which tasks waiting, and whether its long poll is
// open. A state machine without clock, lock or socket: the service hands it the time and guards it with its mutex, ends
// the polls it names and posts the events it makes.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "peft/core/clock.h"
#include "peft/core/status.h"
#include "server/events.h"
#include "server/run_info.h"

namespace fedpeft::server {

/// What a client says of itself, its digests and texts checked for form (wire.h).
struct JoinClaim {
  std::uint32_t protocol_version = 0;
  std::string run_id;
  std::string name;
  bool evaluator = false;
  Digest weights{};
  Digest tokenizer{};
  Digest layout{};
  /// One entry a virtual client; at least one, and not more than the run takes (wire.h).
  std::vector<std::uint64_t> examples;
  /// Of a trainer that evaluates too, one entry a client; else empty.
  std::vector<std::uint64_t> held_out;
  std::string software;
};

/// The identity under which the claim joins. `certificate`: the common name that TLS verified, if it did.
/// Errors: kFailedPrecondition when protocol, run, base, tokenizer or layout differ (both values are named);
/// kPermissionDenied for another name than the certificate's; kInvalidArgument for a bad name or number of examples.
Result<std::string> CheckJoin(const RunInfo& run, const JoinClaim& claim,
                              const std::optional<std::string>& certificate);

/// 1 to kMaxNameBytes of letters, digits, '-', '_', '.'.
Status CheckName(std::string_view name);

class SessionRegistry {
 public:
  /// How a poll ends: tasks (none: its time is over, poll again), or why the session ended.
  using PollAnswer = std::function<void(Result<std::vector<Task>>)>;
  struct PollRef {
    SessionId session = 0;
    std::uint64_t number = 0;
  };
  struct EndedPoll {
    PollAnswer answer;
    Result<std::vector<Task>> outcome;
  };
  /// What the caller has to do once it has let go of its mutex.
  struct Effects {
    std::vector<EndedPoll> polls;
    std::vector<Event> events;
  };
  struct Joined {
    SessionId session = 0;
    std::string token;
  };

  /// Tasks of one reply at most, and bytes of steps of secure aggregation, so that it stays below the message limit; a
  /// longer step goes alone.
  static constexpr std::size_t kMaxTasksAReply = 4096;
  static constexpr std::size_t kMaxStepBytesAReply = std::size_t{2} << 20;
  /// A task that was sent and not acknowledged is sent again after this long.
  static constexpr double kResendSeconds = 1;

  explicit SessionRegistry(const RunInfo& run) : run_(run) {}

  /// Opens a session of `identity` (CheckJoin's) with a fresh random token; an older one of the same identity ends with
  /// kAborted. Errors: kResourceExhausted when too many clients are joined; kUnavailable while draining.
  Result<Joined> Join(const std::string& identity, const JoinClaim& claim, Instant now, Effects& effects);
  void Leave(SessionId session, const std::string& reason, Effects& effects);

  /// Errors: kUnauthenticated for no such session, kAborted when a newer session of the identity took over.
  Result<SessionId> Find(std::string_view token) const;
  const std::string& IdentityOf(SessionId session) const;
  /// Whether `client_id` is the session's client or one of its virtual clients.
  bool Owns(SessionId session, std::string_view client_id) const;

  /// Acknowledges tasks and opens the session's poll, ending an older one that is still open.
  Result<PollRef> Poll(SessionId session, const std::vector<TaskKey>& received, PollAnswer answer, Instant now,
                       Effects& effects);
  /// The connection is gone; the session has client_timeout_s from now to poll again.
  void CancelPoll(PollRef poll, Instant now, Effects& effects);

  void Send(SessionId session, Task task, Instant now, Effects& effects);
  void WithdrawTasks();
  void SetBusy(SessionId session, bool busy, Instant now);

  /// Ends polls that were held long enough, sends again, and lets go of clients that are gone.
  void Tick(Instant now, Effects& effects);
  /// Ends all polls with kUnavailable; no poll or join is taken from now on.
  void Drain(Effects& effects);

  std::size_t sessions() const { return sessions_.size(); }
  /// Whether any session still has tasks that it has not acknowledged.
  bool HasTasks() const;

 private:
  struct Queued {
    Task task;
    std::optional<Instant> sent;
  };
  struct OpenPoll {
    std::uint64_t number = 0;
    PollAnswer answer;
    Instant started;
  };
  struct Session {
    std::string identity;
    std::string token;
    std::size_t clients = 0;
    bool busy = false;
    std::map<TaskKey, Queued> tasks;
    std::optional<OpenPoll> poll;
    /// Since when no poll is open.
    Instant silent_since;
  };

  void End(SessionId id, const Status& why, Effects& effects);
  void AnswerWithDueTasks(Session& session, Instant now, Effects& effects);
  void AnswerPoll(Session& session, Result<std::vector<Task>> outcome, Effects& effects);
  void Remember(const std::string& token);
  static bool IsDue(const Queued& queued, Instant now);

  const RunInfo& run_;
  std::map<SessionId, Session> sessions_;
  std::unordered_map<std::string, SessionId> by_token_;
  std::unordered_map<std::string, SessionId> by_identity_;
  /// Tokens of superseded sessions, the latest few: their clients must stop instead of joining again.
  std::unordered_set<std::string> superseded_;
  std::deque<std::string> superseded_order_;
  std::uint64_t joined_clients_ = 0;
  SessionId last_session_ = 0;
  std::uint64_t last_poll_ = 0;
  bool draining_ = false;
};

}  // namespace fedpeft::server
