// Random worlds: whatever happens, the rules hold, and a run whose clients behave at last ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "peft/core/random.h"
#include "server/round.h"
#include "tests/server/small_run.h"
#include "tests/support/counted.h"

namespace fedpeft::server {
namespace {

using testing::SmallRun;
using Stage = RunMachine::Stage;
using Kind = Verdict::Kind;

class RandomWorld {
 public:
  explicit RandomWorld(std::uint64_t seed) : random_(seed, "world"), run_(MakeRun()), machine_(run_, {}) {}

  void Play() {
    for (int step = 0; step < 2000 && machine_.stage() != Stage::kFinished; ++step) Step();
    // From here on everybody is there and answers.
    Arrive(clients_);
    for (int step = 0; step < 3000 && machine_.stage() != Stage::kFinished; ++step) Behave();
    EXPECT_EQ(machine_.stage(), Stage::kFinished);
  }

 private:
  RunSpec MakeRun() {
    RunSpec run = SmallRun(1 + static_cast<std::uint32_t>(random_.NextBelow(6)),
                           1 + static_cast<std::uint32_t>(random_.NextBelow(4)));
    PhaseSpec& phase = run.schedule[0];
    if (random_.NextBelow(2) == 0) phase.cohort = phase.min_clients + static_cast<std::uint32_t>(random_.NextBelow(3));
    phase.over_selection = random_.NextDouble();
    run.evaluation.every = static_cast<std::uint32_t>(random_.NextBelow(3));
    run.limits.max_attempts = 10000;
    for (char i = 0; i < 8; ++i) clients_.push_back({std::string(1, static_cast<char>('a' + i)), i >= 6, 1});
    return run;
  }
  void Step() {
    const ClientSpec& client = clients_[random_.NextBelow(clients_.size())];
    switch (random_.NextBelow(7)) {
      case 0:
        return Arrive({client});
      case 1:
        return Send(ClientsDeparted{{client.id}});
      case 2:
        return Send(TaskFailed{client.id});
      case 3:
        now_ += Seconds(random_.NextDouble() * 40);
        return Send(Tick{});
      default:
        return Answer(client);
    }
  }
  void Behave() {
    if (machine_.stage() == Stage::kWaiting) {
      now_ += Seconds(1);
      return Send(Tick{});
    }
    if (machine_.stage() == Stage::kOpening || machine_.stage() == Stage::kCommitting) return Answer(clients_[0]);
    for (const ClientSpec& client : clients_) Answer(client);
    Arrive(clients_);
  }
  void Arrive(const std::vector<ClientSpec>& clients) { Send(ClientsArrived{clients}); }
  /// Says what this client, or the disk, would.
  void Answer(const ClientSpec& client) {
    if (machine_.stage() == Stage::kOpening) return Send(AttemptStored{});
    if (machine_.stage() == Stage::kCommitting) return Send(RoundStored{});
    const TaskKey train{client.id, machine_.round(), machine_.attempt(), kTrainStep};
    const TaskKey evaluate{client.id, machine_.committed_round(), machine_.committed_attempt(), kEvaluateStep};
    if (machine_.CheckUpdate(train).kind == Kind::kWanted) {
      EXPECT_TRUE(counted_.insert(client.id).second) << "counted twice";
      return Send(UpdateReady{client.id});
    }
    if (machine_.CheckEvaluation(evaluate).kind == Kind::kWanted) {
      const auto correct = static_cast<std::int64_t>(random_.NextBelow(10));
      Send(EvaluationCounted{client.id, {fedpeft::testing::Counted(10, correct, 1), 1}});
    }
  }
  void Send(const RoundEvent& event) {
    for (const Action& action : machine_.Handle(now_, event)) Check(action);
    const auto wakeup = machine_.Wakeup();
    EXPECT_TRUE(!wakeup || *wakeup > now_) << "a wakeup that is over would spin";
  }
  void Check(const Action& action) {
    if (const auto* open = std::get_if<StoreAttempt>(&action)) {
      EXPECT_TRUE(attempts_.emplace(open->round, open->attempt).second) << "attempt number used twice";
      EXPECT_EQ(open->round, committed_ + 1);
      EXPECT_GE(open->cohort.size(), run_.schedule[0].min_clients);
      counted_.clear();
    }
    if (const auto* commit = std::get_if<CommitRound>(&action)) {
      EXPECT_GE(counted_.size(), run_.schedule[0].min_clients);
      EXPECT_EQ(commit->round, ++committed_);
    }
    if (const auto* finish = std::get_if<FinishRun>(&action)) {
      EXPECT_TRUE(finish->ok);
      EXPECT_EQ(committed_, run_.total_rounds());
    }
  }

  RandomStream random_;
  std::vector<ClientSpec> clients_;
  RunSpec run_;
  RunMachine machine_;
  Instant now_{};
  std::set<std::pair<std::uint32_t, std::uint32_t>> attempts_;
  std::set<std::string> counted_;
  std::uint32_t committed_ = 0;
};

TEST(RoundTest, RulesHoldInRandomWorlds) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    RandomWorld world(seed);
    world.Play();
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace fedpeft::server
