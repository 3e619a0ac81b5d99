// TaskQueue: what stands between the thread that polls and the one that works. It knows which tasks are still worth
// doing: a round that closed, or a newer attempt, makes older ones obsolete, also the one that is being worked on.
#pragma once

#include <atomic>
#include <compare>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <variant>

#include "peft/core/bytes.h"
#include "peft/core/clock.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"

namespace fedpeft::client {

struct TaskKey {
  std::string client;
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  std::uint32_t step = 0;
  auto operator<=>(const TaskKey&) const = default;
};

/// Steps of a round; those of secure aggregation follow them.
inline constexpr std::uint32_t kTrainStep = 0;
inline constexpr std::uint32_t kEvaluateStep = 1;
inline constexpr std::uint32_t kFirstSecureStep = 4;

struct BlobRef {
  Digest sha256{};
  std::uint64_t length = 0;
};
struct TrainWork {
  BlobRef params;
};
struct EvaluateWork {
  BlobRef params;
};

/// A serialised step of secure aggregation.
struct SecureWork {
  Bytes step;
};

struct Work {
  TaskKey key;
  std::variant<TrainWork, EvaluateWork, SecureWork> what;
};

/// Threads: all functions from any thread; Take from one.
class TaskQueue {
 public:
  /// A task that is not newer than what was offered for its client since the last Reset is dropped: the coordinator
  /// repeats tasks until they are acknowledged. Steps of secure aggregation come first: others wait for them, and what
  /// is still training is too late for the sum.
  void Offer(Work work);
  /// Rounds up to `round` are committed: their tasks are obsolete, the one in progress is cancelled.
  void CloseRounds(std::uint32_t round);
  /// A new session: what was queued will be sent again.
  void Reset();
  /// No more tasks. The first outcome stays.
  void Finish(Status outcome);

  /// Blocks for the next task that is not obsolete; none once finished. The one before it counts as done.
  std::optional<Work> Take();
  /// Waits for `duration`; false as soon as the task is obsolete or the queue finished.
  bool WaitWhileWanted(const TaskKey& key, Duration duration);
  bool Wanted(const TaskKey& key) const;
  /// Waits for `duration`; false as soon as the queue is finished.
  bool WaitUnlessFinished(Duration duration);
  bool finished() const;
  /// Pre: finished().
  Status outcome() const;
  /// True while the task in progress should be given up; what the trainer's stop flag points to.
  const std::atomic<bool>& cancelled() const { return cancelled_; }

 private:
  bool WantedLocked(const TaskKey& key) const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  /// Newest (round, attempt) offered, by client and step: what is not newer is a repeat or obsolete. As many entries as
  /// the process has clients and roles, however many rounds there are.
  std::map<std::pair<std::string, std::uint32_t>, std::pair<std::uint32_t, std::uint32_t>> newest_;
  /// Newest committed round; 0: none yet (the first is 1).
  std::uint32_t closed_ = 0;
  /// Newest round that a training was offered of: evaluations of earlier rounds are over.
  std::uint32_t training_ = 0;
  /// Newest (round, attempt) of secure aggregation: its trainings are over.
  std::pair<std::uint32_t, std::uint32_t> summing_;
  std::optional<TaskKey> current_;
  std::optional<Status> outcome_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace fedpeft::client
