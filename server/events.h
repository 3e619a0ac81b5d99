// The seam between the gRPC service and the coordinator, in plain structs: what the service reports (events, posted to
// the coordinator's loop) and what the coordinator asks for (Outbox). Neither side knows the other's threads; the
// coordinator knows no gRPC, the service no rounds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "peft/metrics/totals.h"
#include "privacy/secagg/server_session.h"

namespace fedpeft::server {

/// Told apart for good: a session number is never used twice in a process.
using SessionId = std::uint64_t;

/// One joined client: `X`, or `X/3` for a virtual one.
struct ClientSpec {
  std::string id;
  bool evaluator = false;
  /// Training (or evaluation) examples it holds.
  std::uint64_t examples = 0;
  /// Of a trainer: held-out examples, on which it evaluates too.
  std::uint64_t held_out = 0;

  bool trains() const { return !evaluator; }
  bool evaluates() const { return evaluator || held_out > 0; }
};

/// Names one answer; replies are idempotent by it. `step` tells training (0) from evaluation (1) within a round.
struct TaskKey {
  std::string client_id;
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  std::uint32_t step = 0;

  auto operator<=>(const TaskKey&) const = default;
};
inline constexpr std::uint32_t kTrainStep = 0;
inline constexpr std::uint32_t kEvaluateStep = 1;
/// RoundClosed and RunFinished ask for no answer; their keys only have to differ from the others of the round.
inline constexpr std::uint32_t kClosedStep = 2;
inline constexpr std::uint32_t kFinishedStep = 3;
/// Of secure aggregation's stages, the first one's; the others follow (privacy::ServerSession::Stage).
inline constexpr std::uint32_t kSecureStep = 4;

struct TrainStats {
  std::uint64_t examples = 0;
  std::uint64_t steps = 0;
  std::uint64_t tokens = 0;
  /// Mean training loss an example.
  double loss = 0;
  double seconds = 0;
};

struct EvaluateStats {
  Totals totals;
  double seconds = 0;
};

/// What an update claims to be, before its first byte. Lengths and digests have been checked for form by the service;
/// whether it is wanted is the coordinator's to say.
struct UploadManifest {
  TaskKey key;
  std::uint64_t length = 0;
  Digest sha256{};
  Digest payload{};
  Digest base{};
  TrainStats stats;
};

/// The bytes of a verified update (length and SHA-256 hold), in memory or in a spool file that goes with the object.
class UploadedBytes {
 public:
  virtual ~UploadedBytes() = default;
  /// Reads [offset, offset + out.size()). Pre: within length().
  virtual Status Read(std::uint64_t offset, MutableByteSpan out) = 0;
  virtual std::uint64_t length() const = 0;
};

/// The coordinator's answer to an offer.
struct UploadDecision {
  /// kUnavailable: the coordinator is stopping; the client keeps its update and offers it to the next process.
  enum class Kind { kWanted, kAlreadyHere, kRefused, kUnavailable } kind = Kind::kRefused;
  /// For kRefused: why, for good, for the client's log.
  std::string reason;
};

// ---- service → coordinator -------------------------------------------------------------------------------------

struct ClientsJoined {
  SessionId session = 0;
  std::vector<ClientSpec> clients;
};
/// Superseded, gone for longer than the timeout, or left by itself. Its undelivered tasks are already dropped. Of a
/// superseded session this comes after the new one's ClientsJoined, so that the round does not close in between.
struct ClientsLeft {
  SessionId session = 0;
  std::string reason;
};
/// `answer` (here and below) is called exactly once, also when the coordinator is stopping or has stopped, from the
/// loop thread or, then, from whoever posts; it must not block.
struct UploadOffered {
  SessionId session = 0;
  UploadManifest manifest;
  std::function<void(UploadDecision)> answer;
};
struct UploadArrived {
  SessionId session = 0;
  UploadManifest manifest;
  std::unique_ptr<UploadedBytes> bytes;
  /// OK: it counts (or counted before). kInvalidArgument: its values are bad. kFailedPrecondition: not wanted any more.
  /// kUnavailable: the coordinator is stopping.
  std::function<void(Status)> answer;
};
/// The update is there and waits on the client for secure aggregation.
struct Trained {};
/// A serialised answer to a SecureTask.
struct SecureAnswer {
  Bytes bytes;
};
struct TaskAnswered {
  SessionId session = 0;
  TaskKey key;
  /// What a task's answer is, or why the client could not do it.
  using Outcome = std::variant<EvaluateStats, Trained, SecureAnswer, Status>;
  Outcome outcome;
  std::function<void(Status)> answer;
};
/// SIGTERM: take what is here, commit or keep what is open, and stop.
struct StopRequested {};

using Event = std::variant<ClientsJoined, ClientsLeft, UploadOffered, UploadArrived, TaskAnswered, StopRequested>;

// ---- coordinator → service -------------------------------------------------------------------------------------

struct BlobRef {
  Digest sha256{};
  std::uint64_t length = 0;
};
struct TrainTask {
  BlobRef params;
};
struct EvaluateTask {
  BlobRef params;
};
/// Sent once a session, under the name of its first client; speaks for all of its clients. RunFinished likewise.
struct RoundClosed {
  std::uint32_t committed_round = 0;
};
struct RunFinished {
  std::string reason;
  bool ok = true;
};
/// A step of secure aggregation.
struct SecureTask {
  privacy::SecureStepBytes step;
};
struct Task {
  TaskKey key;
  std::variant<TrainTask, EvaluateTask, SecureTask, RoundClosed, RunFinished> body;
};
/// By steps, for g++ 12 takes one that is made in place for uninitialised.
inline Task MakeTask(TaskKey key, decltype(Task::body) body) {
  Task task;
  task.key = std::move(key);
  task.body = std::move(body);
  return task;
}

/// Implemented by the service; all functions return at once and may be called from any thread.
class Outbox {
 public:
  virtual ~Outbox() = default;
  /// Queues a task for the client; it is sent with every poll until acknowledged, and dropped when the session ends.
  virtual void Send(SessionId session, Task task) = 0;
  /// Drops the queued tasks of all clients but RoundClosed and RunFinished: the attempt they belong to is over.
  virtual void WithdrawTasks() = 0;
  /// Whether the session's clients are in a cohort: decides how long its polls are held, so how soon death is noticed.
  virtual void SetBusy(SessionId session, bool busy) = 0;
  /// Makes a blob fetchable by its hash; shared by everybody who fetches it. Retired blobs may be dropped once no
  /// fetch is running.
  virtual BlobRef Publish(std::shared_ptr<const Bytes> blob) = 0;
  virtual void Retire(const Digest& sha256) = 0;
  /// Uploads in flight that are not of this (round, attempt) are ended with "round closed".
  virtual void CloseUploadsBefore(std::uint32_t round, std::uint32_t attempt) = 0;
};

}  // namespace fedpeft::server
