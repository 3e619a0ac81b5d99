// Worker: does a session's tasks, one after another, and hands in the answers, trying again while a failure may pass
// and the answer is still wanted. Runs on the caller's thread; the session polls on another.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "client/own_privacy.h"
#include "client/runner.h"
#include "client/secure_clients.h"
#include "client/task_queue.h"
#include "client/transport.h"
#include "client/update_store.h"
#include "peft/core/status.h"

namespace fedpeft::v1 {
class SubmitRequest;
class UploadManifest;
}  // namespace fedpeft::v1

namespace fedpeft::client {

/// Who the process is to the coordinator at the moment; changes when the session joins again. Thread-safe.
class Identity {
 public:
  void Set(std::string token, std::string id) {
    const std::lock_guard lock(mutex_);
    token_ = std::move(token);
    id_ = std::move(id);
  }
  /// The session's token; empty before the first join.
  std::string Token() const {
    const std::lock_guard lock(mutex_);
    return token_;
  }
  /// The client's id, which its virtual clients' ids begin with.
  std::string Id() const {
    const std::lock_guard lock(mutex_);
    return id_;
  }

 private:
  mutable std::mutex mutex_;
  std::string token_;
  std::string id_;
};

class Worker {
 public:
  /// What guards the run's clients; null: not that.
  struct Guards {
    /// Updates are summed under masks.
    SecureClients* secure = nullptr;
    /// Each client hides its own.
    OwnPrivacy* own = nullptr;
    /// Rounds from one that a client sends an update in to the next, at least; 0: any.
    std::uint32_t min_separation = 0;

    /// Clients tell nothing of themselves beside their updates.
    bool reticent() const { return secure != nullptr || own != nullptr; }
  };

  /// All references must outlive the worker.
  Worker(Transport& transport, Runner& runner, UpdateStore& updates, TaskQueue& tasks, const Identity& identity,
         std::string run_id, const Guards& guards)
      : transport_(transport),
        runner_(runner),
        updates_(updates),
        tasks_(tasks),
        identity_(identity),
        run_id_(std::move(run_id)),
        guards_(guards) {}

  /// Does one task and hands in its answer; a failure is logged and told to the coordinator.
  void Do(const Work& work);

 private:
  Status Perform(const TaskKey& key, const TrainWork& work);
  Status Perform(const TaskKey& key, const EvaluateWork& work);
  Status Perform(const TaskKey& key, const SecureWork& work);
  /// Which of the process's clients a task is for.
  Result<std::size_t> IndexOf(const TaskKey& key) const;
  /// Makes `params_` those of `ref`.
  Status FetchParams(const TaskKey& key, const BlobRef& ref);
  /// The client's own tensors after its last training; empty where the run leaves clients none.
  Result<Bytes> PersonalOf(const TaskKey& key) const;
  Result<KeptUpdate> TrainOrFind(const TaskKey& key, const TrainWork& work, std::size_t index);
  /// Whatever the coordinator says: how far this client's noise reaches is reckoned for rounds that are so far apart.
  Status CheckSeparation(const TaskKey& key) const;
  Status Upload(const TaskKey& key, const KeptUpdate& update);
  /// Its run, task and hashes are filled in.
  Status Upload(const TaskKey& key, v1::UploadManifest& manifest, ByteSpan content);
  Status Submit(const TaskKey& key, v1::SubmitRequest& request);
  /// Repeats `attempt` while its failure is a passing one and the task is still wanted. An attempt may set the wait
  /// before the next one at least.
  Status Persist(const TaskKey& key, const std::function<Status(Duration& least_wait)>& attempt);

  Transport& transport_;
  Runner& runner_;
  UpdateStore& updates_;
  TaskQueue& tasks_;
  const Identity& identity_;
  const std::string run_id_;
  const Guards guards_;
  /// The parameters fetched last: all clients of a round start from the same.
  BlobRef params_ref_;
  Bytes params_;
};

}  // namespace fedpeft::client
