// The coordinator with clients that are played in the process: a whole run, hostile clients, restarts.
#include "server/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstring>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "peft/core/random.h"
#include "peft/params/layout.h"
#include "peft/plan/plan.h"
#include "server/state_reader.h"
#include "tests/server/small_run.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using ::testing::HasSubstr;
using testing::SmallRun;

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
             std::holds_alternative<EvaluateTask>(entry.second.body);
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
  std::size_t busy() {
    const std::lock_guard lock(mutex_);
    return busy_.size();
  }
  std::size_t blobs() {
    const std::lock_guard lock(mutex_);
    return blobs_.size();
  }

 private:
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
    return DensePayload(*layout_, PlanView(run_.plan, *layout_), run_.PhaseAt(round).reducer.max_abs);
  }
  /// An update that only client and round decide.
  Bytes Update(const TaskKey& key) const {
    RandomStream stream(run_.seed, "test-update/" + key.client_id, {key.round});
    std::vector<float> values(payload().size);
    for (float& value : values) value = static_cast<float>(stream.NextNormal()) * 0.01f;
    const ByteSpan bytes = AsBytes(std::span<const float>(values));
    return {bytes.begin(), bytes.end()};
  }
  UploadManifest Manifest(const Task& task, const Bytes& bytes) const {
    UploadManifest manifest;
    manifest.key = task.key;
    manifest.length = bytes.size();
    manifest.sha256 = Sha256Of(bytes);
    manifest.payload = payload().digest;
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
  Status Evaluate(const std::pair<SessionId, Task>& task, const EvaluateStats& stats) {
    return Ask<Status>([&](auto answer) {
      coordinator_->Post(TaskAnswered{task.first, task.second.key, stats, std::move(answer)});
    });
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

std::vector<RoundRecord> RoundsOf(const std::string& folder) {
  Result<StateReader> reader = StateReader::Open(folder);
  EXPECT_TRUE(reader.ok()) << reader.status().ToString();
  return *reader->Rounds();
}

Digest LastHash(const std::string& folder) {
  return RoundsOf(folder).back().params_sha256;
}

Digest PlayRun(const std::string& folder, const RunSpec& run, std::size_t clients, std::uint64_t order) {
  Federation federation(folder, run);
  federation.JoinAll(static_cast<int>(clients));
  for (std::uint32_t round = 1; round <= run.total_rounds(); ++round)
    federation.PlayRound(clients, order * 100 + round);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  return LastHash(folder);
}

TEST(CoordinatorTest, WholeRunCommitsEveryRoundAndTellsEverybody) {
  TempFolder folder;
  const RunSpec run = SmallRun();
  Federation federation(folder.path(), run);
  federation.JoinAll(3);
  for (int round = 1; round <= 3; ++round) {
    federation.PlayRound(3);
    const Tasks closed = federation.service().Take<RoundClosed>(3);
    EXPECT_EQ(std::get<RoundClosed>(closed[0].second.body).committed_round, static_cast<std::uint32_t>(round));
  }
  const RunOutcome outcome = federation.coordinator().Wait();
  EXPECT_EQ(outcome.kind, RunOutcome::Kind::kFinished);
  EXPECT_TRUE(std::get<RunFinished>(federation.service().Take<RunFinished>(3)[0].second.body).ok);
  EXPECT_EQ(federation.service().busy(), 0u);
  EXPECT_EQ(federation.service().blobs(), 1u);

  const std::vector<RoundRecord> rounds = RoundsOf(folder.path());
  ASSERT_EQ(rounds.size(), 4u);
  EXPECT_EQ(rounds[3].participants, 3u);
  EXPECT_EQ(rounds[3].bytes_up, 3 * federation.coordinator().payload_bytes());
  EXPECT_EQ(rounds[3].bytes_down, 3 * federation.coordinator().payload_bytes());
  EXPECT_DOUBLE_EQ(*rounds[3].train_loss, 0.5);
  EXPECT_NE(rounds[3].params_sha256, rounds[2].params_sha256);
}

TEST(CoordinatorTest, ParametersDoNotDependOnArrivalOrder) {
  TempFolder first, second;
  EXPECT_EQ(PlayRun(first.path(), SmallRun(3, 5), 5, 1), PlayRun(second.path(), SmallRun(3, 5), 5, 2));
}

TEST(CoordinatorTest, ParametersDoNotDependOnHowManyThreadsUpdatesComeFrom) {
  const auto play = [](std::size_t threads) {
    TempFolder folder;
    Federation federation(folder.path(), SmallRun(2, 16));
    federation.JoinAll(16);
    for (int round = 1; round <= 2; ++round) {
      const Tasks tasks = federation.TakeTrain(16);
      std::vector<std::thread> posting;
      for (std::size_t thread = 0; thread < threads; ++thread) {
        posting.emplace_back([&, thread] {
          for (std::size_t i = thread; i < tasks.size(); i += threads) EXPECT_TRUE(federation.Upload(tasks[i]).ok());
        });
      }
      for (std::thread& thread : posting) thread.join();
    }
    EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
    return LastHash(folder.path());
  };
  EXPECT_EQ(play(1), play(8));
}

TEST(CoordinatorTest, ZeroUpdatesLeaveTheParametersBitForBit) {
  TempFolder folder;
  Federation federation(folder.path(), SmallRun(1));
  federation.JoinAll(3);
  for (const auto& task : federation.TakeTrain(3)) {
    const Bytes zeros(federation.coordinator().payload_bytes());
    EXPECT_TRUE(federation.Upload(task.first, federation.Manifest(task.second, zeros), zeros).ok());
  }
  federation.coordinator().Wait();
  const std::vector<RoundRecord> rounds = RoundsOf(folder.path());
  EXPECT_EQ(rounds[1].params_sha256, rounds[0].params_sha256);
}

TEST(CoordinatorTest, EndingWithoutStopAtAnyPointGivesTheSameFinalHash) {
  TempFolder undisturbed;
  const RunSpec run = SmallRun(4);
  const Digest want = PlayRun(undisturbed.path(), run, 3, 1);
  TempFolder folder;
  // The process "dies" after 0, 1, … 8 updates; the last one goes on to the end.
  for (int updates = 0; updates <= 8; ++updates) {
    Federation federation(folder.path(), run);
    federation.JoinAll(3);
    for (int sent = 0; sent < updates && sent < 7; ++sent) {
      const Tasks task = federation.TakeTrain(1);
      if (task.empty() || task[0].second.key.round == 4) break;
      EXPECT_TRUE(federation.Upload(task[0]).ok());
    }
  }
  const std::uint32_t committed = RoundsOf(folder.path()).back().round;
  EXPECT_GE(committed, 1u);
  Federation federation(folder.path(), run);
  federation.JoinAll(3);
  for (std::uint32_t round = committed + 1; round <= 4; ++round) federation.PlayRound(3);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(LastHash(folder.path()), want);
}

TEST(CoordinatorTest, AttemptNumbersAreNotReusedAfterARestart) {
  TempFolder folder;
  const RunSpec run = SmallRun();
  std::uint32_t before = 0;
  {
    Federation federation(folder.path(), run);
    federation.JoinAll(3);
    before = federation.TakeTrain(3)[0].second.key.attempt;
  }
  Federation federation(folder.path(), run);
  federation.JoinAll(3);
  EXPECT_GT(federation.TakeTrain(3)[0].second.key.attempt, before);
}

TEST(CoordinatorTest, LyingClientsAreRefusedAndNobodyElseIsDisturbed) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 2);
  Federation federation(folder.path(), run);
  federation.JoinAll(2);
  Tasks tasks = federation.TakeTrain(2);
  const auto& [session, task] = tasks[0];
  const Bytes good = federation.Update(task.key);
  const UploadManifest honest = federation.Manifest(task, good);

  const auto reason = [&](auto change) {
    UploadManifest manifest = honest;
    change(manifest);
    const UploadDecision decision = federation.Offer(session, manifest);
    EXPECT_EQ(decision.kind, UploadDecision::Kind::kRefused);
    return decision.reason;
  };
  EXPECT_THAT(reason([](UploadManifest& m) { m.length += 4; }), HasSubstr("bytes, want"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.base[0] ^= 1; }), HasSubstr("is against parameters"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.payload[0] ^= 1; }), HasSubstr("has payload"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.key.round = 2; }), HasSubstr("is not open"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.key.attempt = 9; }), HasSubstr("is not open"));
  EXPECT_THAT(reason([&](UploadManifest& m) { m.key.client_id = tasks[1].second.key.client_id; }),
              HasSubstr("not a client of this session"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.loss = std::numeric_limits<double>::quiet_NaN(); }),
              HasSubstr("out of range"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.loss = -1; }), HasSubstr("loss"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.loss = 1e300; }), HasSubstr("loss"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.seconds = -1; }), HasSubstr("seconds"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.examples = 0; }), HasSubstr("examples"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.examples = std::uint64_t{1} << 63; }), HasSubstr("examples"));

  EXPECT_EQ(federation.Offer(session, honest).kind, UploadDecision::Kind::kWanted);
  EXPECT_TRUE(federation.Upload(session, honest, good).ok());
  EXPECT_EQ(federation.Offer(session, honest).kind, UploadDecision::Kind::kAlreadyHere);
  EXPECT_TRUE(federation.Upload(session, honest, good).ok()) << "a replay is no error, and no second update";
  EXPECT_TRUE(federation.Upload(tasks[1]).ok());
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(RoundsOf(folder.path())[1].participants, 2u);
}

TEST(CoordinatorTest, BadValuesAreRefusedAndTheRoundGoesOnWithoutThem) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 2);
  Federation federation(folder.path(), run);
  // Three, so that the round can do without one; the run wants two before it starts.
  federation.coordinator().Post(ClientsJoined{1, {{"a", false, 10}, {"b", false, 10}, {"c", false, 10}}});
  Tasks tasks = federation.TakeTrain(3);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(federation.Upload(tasks[static_cast<std::size_t>(i)]).ok());
  Bytes bad = federation.Update(tasks[2].second.key);
  StoreLe(std::numeric_limits<float>::quiet_NaN(), bad.data() + 8);
  const Status refused = federation.Upload(1, federation.Manifest(tasks[2].second, bad), bad);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("nan"));
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(RoundsOf(folder.path())[1].participants, 2u);
}

TEST(CoordinatorTest, AnUpdateWeighsWhatItsClientJoinedWithWhateverItClaims) {
  const auto play = [](std::uint64_t claimed) {
    TempFolder folder;
    RunSpec run = SmallRun(1, 2);
    Federation federation(folder.path(), run);
    federation.JoinAll(2);
    for (const auto& [session, task] : federation.TakeTrain(2)) {
      const Bytes bytes = federation.Update(task.key);
      UploadManifest manifest = federation.Manifest(task, bytes);
      if (task.key.client_id == "client-0") manifest.stats.examples = claimed;
      EXPECT_EQ(federation.Upload(session, manifest, bytes).ToString(), "OK");
    }
    federation.coordinator().Wait();
    EXPECT_EQ(RoundsOf(folder.path()).back().examples, 20u);
    return LastHash(folder.path());
  };
  EXPECT_EQ(play(10), play(std::uint64_t{1} << 40));
}

TEST(CoordinatorTest, AClientWhoseOfferIsRefusedForItsContentIsNotWaitedFor) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 2);
  Federation federation(folder.path(), run);
  federation.coordinator().Post(ClientsJoined{1, {{"a", false, 10}, {"b", false, 10}, {"c", false, 10}}});
  const Tasks tasks = federation.TakeTrain(3);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_TRUE(federation.Upload(tasks[i]).ok());
  UploadManifest manifest = federation.Manifest(tasks[2].second, federation.Update(tasks[2].second.key));
  manifest.stats.loss = std::numeric_limits<double>::infinity();
  EXPECT_EQ(federation.Offer(1, manifest).kind, UploadDecision::Kind::kRefused);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished) << "long before the deadline";
}

TEST(CoordinatorTest, AnUpdateThatCannotBeReadLosesNoAttempt) {
  class BrokenBytes : public UploadedBytes {
   public:
    explicit BrokenBytes(std::uint64_t length) : length_(length) {}
    Status Read(std::uint64_t, MutableByteSpan) override { return DataLoss("spool: an upload ends early"); }
    std::uint64_t length() const override { return length_; }

   private:
    const std::uint64_t length_;
  };
  TempFolder folder;
  Federation federation(folder.path(), SmallRun(1, 2));
  federation.JoinAll(2);
  const Tasks tasks = federation.TakeTrain(2);
  const UploadManifest manifest = federation.Manifest(tasks[0].second, federation.Update(tasks[0].second.key));
  std::promise<Status> answered;
  federation.coordinator().Post(UploadArrived{tasks[0].first, manifest, std::make_unique<BrokenBytes>(manifest.length),
                                              [&](Status status) { answered.set_value(std::move(status)); }});
  EXPECT_EQ(answered.get_future().get().code(), Code::kDataLoss);
  // Both updates count in the same attempt.
  for (const auto& task : tasks) EXPECT_EQ(federation.Upload(task).ToString(), "OK");
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
}

TEST(CoordinatorTest, EvaluationsBeyondWhatTheEvaluatorHoldsAreRefused) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 1);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 1;
  Federation federation(folder.path(), run);
  federation.Join(1, "t");
  federation.Join(2, "e", true);
  const Tasks task = federation.service().Take<EvaluateTask>(1);
  const EvaluateStats honest{.examples = 10, .correct = 5, .loss_sum = 5, .seconds = 1};
  const auto refused = [&](auto change) {
    EvaluateStats stats = honest;
    change(stats);
    return federation.Evaluate(task[0], stats).code();
  };
  // Refused for its content; the evaluation is then over without it, so one lie each.
  EXPECT_EQ(refused([](EvaluateStats& s) { s.examples = std::uint64_t{1} << 40; }), Code::kInvalidArgument);
  federation.PlayRound(1);
  Tasks next = federation.service().Take<EvaluateTask>(1);
  EXPECT_EQ(federation.Evaluate(next[0], {.examples = 10, .correct = 5, .loss_sum = 1e300, .seconds = 1}).code(),
            Code::kInvalidArgument);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_FALSE(RoundsOf(folder.path()).back().evaluation.has_value());
}

TEST(CoordinatorTest, EvaluationsAreSummedStoredAndDecideTheBestRound) {
  TempFolder folder;
  RunSpec run = SmallRun(2, 1);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 2;
  Federation federation(folder.path(), run);
  federation.Join(1, "t");
  federation.Join(2, "e1", true);
  federation.Join(3, "e2", true);
  const std::uint64_t correct[] = {1, 6, 4};
  for (std::uint32_t round = 0; round <= 2; ++round) {
    if (round > 0) federation.PlayRound(1);
    for (const auto& task : federation.service().Take<EvaluateTask>(2)) {
      EXPECT_EQ(task.second.key.round, round);
      EXPECT_TRUE(
          federation.Evaluate(task, {.examples = 10, .correct = correct[round], .loss_sum = 5, .seconds = 1}).ok());
    }
  }
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<RoundRecord> rounds = RoundsOf(folder.path());
  EXPECT_DOUBLE_EQ(rounds[1].evaluation->accuracy(), 0.6);
  EXPECT_EQ(rounds[1].evaluation->counts.examples, 20u);
  EXPECT_EQ(rounds[1].evaluation->evaluators, 2u);
  EXPECT_TRUE(rounds[1].evaluation->best);
  EXPECT_FALSE(rounds[2].evaluation->best);
  EXPECT_EQ(StateReader::Open(folder.path())->BestRound()->round, 1u);
}

TEST(CoordinatorTest, StopKeepsTheRunAndAnswersWhatComesLater) {
  TempFolder folder;
  const RunSpec run = SmallRun(1);
  {
    Federation federation(folder.path(), run);
    federation.JoinAll(3);
    const Tasks tasks = federation.TakeTrain(3);
    federation.coordinator().Post(StopRequested{});
    EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kStopped);
    EXPECT_EQ(federation.Upload(tasks[0]).code(), Code::kUnavailable);
    const UploadManifest manifest = federation.Manifest(tasks[0].second, federation.Update(tasks[0].second.key));
    EXPECT_EQ(federation.Offer(tasks[0].first, manifest).kind, UploadDecision::Kind::kUnavailable);
  }
  Federation federation(folder.path(), run);
  federation.JoinAll(3);
  federation.PlayRound(3);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
}

TEST(CoordinatorTest, AFinishedRunTellsThoseWhoComeBackAndWhoJoinsLater) {
  TempFolder folder;
  PlayRun(folder.path(), SmallRun(1), 3, 1);
  Federation federation(folder.path(), SmallRun(1));
  // The three were joined when the process ended, so that it waits for them.
  federation.JoinAll(3);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  federation.Join(4, "late");
  for (const auto& told : federation.service().Take<RunFinished>(4)) {
    EXPECT_TRUE(std::get<RunFinished>(told.second.body).ok);
  }
}

TEST(CoordinatorTest, AnotherConfigurationOrASecondProcessIsRefused) {
  TempFolder folder;
  const RunSpec run = SmallRun();
  Federation federation(folder.path(), run);
  EXPECT_EQ(Coordinator::Open({folder.path(), "config of small", run}).status().code(), Code::kFailedPrecondition);
  TempFolder other;
  { Federation first(other.path(), run); }
  EXPECT_THAT(Coordinator::Open({other.path(), "another", run}).status().message(), HasSubstr("another configuration"));
}

}  // namespace
}  // namespace fedpeft::server
