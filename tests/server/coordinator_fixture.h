// The coordinator with clients that are played in the process: small verbs over one coordinator and a service that
// keeps what it is asked for.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "configs/views.h"
#include "peft/core/random.h"
#include "peft/params/layout.h"
#include "peft/plan/plan.h"
#include "server/coordinator.h"
#include "server/state_reader.h"
#include "tests/server/small_run.h"

namespace fedpeft::server::testing {

class MemoryBytes : public UploadedBytes {
 public:
  explicit MemoryBytes(Bytes bytes) : bytes_(std::move(bytes)) {}
  Status Read(std::uint64_t offset, MutableByteSpan out) override {
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return OkStatus();
  }
  std::uint64_t length() const override { return bytes_.size(); }

 private:
  Bytes bytes_;
};

/// Keeps what the coordinator asks for; tests take tasks in the order they like.
class FakeService : public Outbox {
 public:
  void Send(SessionId session, Task task) override {
    const std::lock_guard lock(mutex_);
    tasks_.emplace_back(session, std::move(task));
    changed_.notify_all();
  }
  void WithdrawTasks() override {
    const std::lock_guard lock(mutex_);
    std::erase_if(tasks_, [](const auto& entry) {
      return std::holds_alternative<TrainTask>(entry.second.body) ||
             std::holds_alternative<EvaluateTask>(entry.second.body) ||
             std::holds_alternative<SecureTask>(entry.second.body);
    });
  }
  void SetBusy(SessionId session, bool busy) override {
    const std::lock_guard lock(mutex_);
    if (busy) {
      busy_.insert(session);
    } else {
      busy_.erase(session);
    }
  }
  BlobRef Publish(std::shared_ptr<const Bytes> blob) override {
    const std::lock_guard lock(mutex_);
    const Digest sha256 = Sha256Of(*blob);
    const BlobRef ref{sha256, blob->size()};
    blobs_[sha256] = std::move(blob);
    return ref;
  }
  void Retire(const Digest& sha256) override {
    const std::lock_guard lock(mutex_);
    blobs_.erase(sha256);
  }
  void CloseUploadsBefore(std::uint32_t, std::uint32_t) override {}

  /// The next `count` tasks of a kind, in the order they were sent.
  template <typename Body>
  std::vector<std::pair<SessionId, Task>> Take(std::size_t count) {
    std::unique_lock lock(mutex_);
    std::vector<std::pair<SessionId, Task>> taken;
    const auto enough = [&] {
      for (auto entry = tasks_.begin(); entry != tasks_.end() && taken.size() < count;) {
        if (!std::holds_alternative<Body>(entry->second.body)) {
          ++entry;
          continue;
        }
        taken.push_back(std::move(*entry));
        entry = tasks_.erase(entry);
      }
      return taken.size() == count;
    };
    // Far beyond what any machine needs: a hang becomes a failure.
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), enough));
    return taken;
  }
  /// The next step of secure aggregation; none once the coordinator has gone on to something else.
  std::optional<std::pair<SessionId, Task>> TakeStep() { return Next<SecureTask, TrainTask, RunFinished>(); }
  /// The next training; none once the run is over.
  std::optional<std::pair<SessionId, Task>> TakeTrainOrEnd() { return Next<TrainTask, RunFinished>(); }
  std::size_t busy() {
    const std::lock_guard lock(mutex_);
    return busy_.size();
  }
  std::size_t blobs() {
    const std::lock_guard lock(mutex_);
    return blobs_.size();
  }

 private:
  /// The next task of a kind; none once there is one of the others.
  template <typename Body, typename... Others>
  std::optional<std::pair<SessionId, Task>> Next() {
    std::unique_lock lock(mutex_);
    std::optional<std::pair<SessionId, Task>> taken;
    const auto ready = [&] {
      const auto next = std::ranges::find_if(
          tasks_, [](const auto& entry) { return std::holds_alternative<Body>(entry.second.body); });
      if (next != tasks_.end()) {
        taken = std::move(*next);
        tasks_.erase(next);
        return true;
      }
      return std::ranges::any_of(
          tasks_, [](const auto& entry) { return (std::holds_alternative<Others>(entry.second.body) || ...); });
    };
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), ready));
    return taken;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<SessionId, Task>> tasks_;
  std::set<SessionId> busy_;
  std::map<Digest, std::shared_ptr<const Bytes>> blobs_;
};

using Tasks = std::vector<std::pair<SessionId, Task>>;

/// A federation in the process: small verbs over one coordinator.
class Federation {
 public:
  Federation(const std::string& folder, const RunSpec& run) : run_(run), layout_(*PlanLayout(run.plan)) {
    Result<std::unique_ptr<Coordinator>> opened = Coordinator::Open({folder, "config of " + run.name, run});
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    coordinator_ = *std::move(opened);
    coordinator_->Start(service_);
  }

  void Join(SessionId session, const std::string& id, bool evaluator = false) {
    coordinator_->Post(ClientsJoined{session, {{id, evaluator, 10}}});
  }
  void JoinAll(int clients) {
    for (int i = 0; i < clients; ++i) Join(static_cast<SessionId>(i + 1), "client-" + std::to_string(i));
  }

  PayloadLayout payload(std::uint32_t round = 1) const {
    return RunViews::Make(run_.plan, run_.schedule, layout_).value().Update(round);
  }
  /// An update that only client and round decide.
  Bytes Update(const TaskKey& key) const {
    RandomStream stream(run_.seed, "test-update/" + key.client_id, {key.round});
    std::vector<float> values(payload(key.round).size);
    for (float& value : values) value = static_cast<float>(stream.NextNormal()) * 0.01f;
    const ByteSpan bytes = AsBytes(std::span<const float>(values));
    return {bytes.begin(), bytes.end()};
  }
  UploadManifest Manifest(const Task& task, const Bytes& bytes) const {
    UploadManifest manifest;
    manifest.key = task.key;
    manifest.length = bytes.size();
    manifest.sha256 = Sha256Of(bytes);
    manifest.payload = payload(task.key.round).digest;
    manifest.base = std::get<TrainTask>(task.body).params.sha256;
    manifest.stats = {
        .examples = 10 + task.key.client_id.size(), .steps = 1, .tokens = 100, .loss = 0.5, .seconds = 0.1};
    return manifest;
  }
  /// Blocks for the answer.
  UploadDecision Offer(SessionId session, const UploadManifest& manifest) {
    return Ask<UploadDecision>([&](auto answer) { coordinator_->Post(UploadOffered{session, manifest, answer}); });
  }
  Status Upload(SessionId session, const UploadManifest& manifest, Bytes bytes) {
    return Ask<Status>([&](auto answer) {
      coordinator_->Post(
          UploadArrived{session, manifest, std::make_unique<MemoryBytes>(std::move(bytes)), std::move(answer)});
    });
  }
  Status Upload(const std::pair<SessionId, Task>& task) {
    Bytes bytes = Update(task.second.key);
    const UploadManifest manifest = Manifest(task.second, bytes);
    return Upload(task.first, manifest, std::move(bytes));
  }
  Status Answer(SessionId session, const TaskKey& key, TaskAnswered::Outcome outcome) {
    return Ask<Status>([&](auto answer) {
      coordinator_->Post(TaskAnswered{session, key, std::move(outcome), std::move(answer)});
    });
  }
  Status Evaluate(const std::pair<SessionId, Task>& task, const EvaluateStats& stats) {
    return Answer(task.first, task.second.key, stats);
  }
  Tasks TakeTrain(std::size_t count) { return service_.Take<TrainTask>(count); }

  /// One round in which everybody answers, in an order that `order` shuffles.
  void PlayRound(std::size_t clients, std::uint64_t order = 0) {
    Tasks tasks = TakeTrain(clients);
    RandomStream stream(order, "order");
    stream.Shuffle(std::span(tasks));
    for (const auto& task : tasks) EXPECT_EQ(Upload(task).ToString(), "OK");
  }

  Coordinator& coordinator() { return *coordinator_; }
  FakeService& service() { return service_; }

 private:
  template <typename T, typename Post>
  T Ask(Post post) {
    struct Box {
      std::mutex mutex;
      std::condition_variable changed;
      std::optional<T> answer;
    };
    auto box = std::make_shared<Box>();
    post([box](T answer) {
      const std::lock_guard lock(box->mutex);
      box->answer = std::move(answer);
      box->changed.notify_all();
    });
    std::unique_lock lock(box->mutex);
    EXPECT_TRUE(box->changed.wait_for(lock, std::chrono::seconds(20), [&] { return box->answer.has_value(); }));
    return *box->answer;
  }

  RunSpec run_;
  std::shared_ptr<const ParamLayout> layout_;
  FakeService service_;
  std::unique_ptr<Coordinator> coordinator_;
};

inline std::vector<RoundRecord> RoundsOf(const std::string& folder) {
  Result<StateReader> reader = StateReader::Open(folder);
  EXPECT_TRUE(reader.ok()) << reader.status().ToString();
  return *reader->Rounds();
}

inline Digest LastHash(const std::string& folder) {
  return RoundsOf(folder).back().params_sha256;
}

inline Digest PlayRun(const std::string& folder, const RunSpec& run, std::size_t clients, std::uint64_t order) {
  Federation federation(folder, run);
  federation.JoinAll(static_cast<int>(clients));
  for (std::uint32_t round = 1; round <= run.total_rounds(); ++round)
    federation.PlayRound(clients, order * 100 + round);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  return LastHash(folder);
}

}  // namespace fedpeft::server::testing
