#include "server/round.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "peft/core/random.h"
#include "tests/server/small_run.h"

namespace fedpeft::server {
namespace {

using ::testing::HasSubstr;
using testing::SmallRun;
using Stage = RunMachine::Stage;
using Kind = Verdict::Kind;

/// A machine, its time, and the actions of the last event.
class Player {
 public:
  explicit Player(const RunSpec& run, ResumePoint resume = {}) : machine_(run, std::move(resume)) { Send(Tick{}); }

  void Send(const RoundEvent& event) { actions_ = machine_.Handle(now_, event); }
  /// Carries out what must be stored, as a disk that answers at once.
  void SendAndStore(const RoundEvent& event) {
    Send(event);
    std::vector<Action> all = actions_;
    while (machine_.stage() == Stage::kOpening || machine_.stage() == Stage::kCommitting) {
      if (machine_.stage() == Stage::kOpening) {
        Send(AttemptStored{});
      } else {
        Send(RoundStored{});
      }
      all.insert(all.end(), actions_.begin(), actions_.end());
    }
    actions_ = std::move(all);
  }
  void Join(const std::vector<std::string>& clients, bool evaluator = false) {
    ClientsArrived event;
    for (const std::string& id : clients) event.clients.push_back({id, evaluator, 1});
    SendAndStore(event);
  }
  void Update(const std::string& client) { SendAndStore(UpdateCounted{client}); }
  void Leave(const std::string& client) { SendAndStore(ClientsDeparted{{client}}); }
  void Wait(double seconds) {
    now_ += Seconds(seconds);
    SendAndStore(Tick{});
  }
  template <typename T>
  std::vector<T> Got() const {
    std::vector<T> got;
    for (const Action& action : actions_) {
      if (const T* one = std::get_if<T>(&action)) got.push_back(*one);
    }
    return got;
  }
  std::set<std::string> Asked() const {
    std::set<std::string> asked;
    for (const AskTrain& ask : Got<AskTrain>()) asked.insert(ask.client);
    return asked;
  }
  TaskKey Key(const std::string& client) const { return {client, machine_.round(), machine_.attempt(), kTrainStep}; }
  RunMachine& machine() { return machine_; }
  Instant now() const { return now_; }

 private:
  RunMachine machine_;
  Instant now_{};
  std::vector<Action> actions_;
};

using Names = std::set<std::string>;

TEST(RoundTest, WaitsForEnoughClients) {
  Player player(SmallRun());
  player.Join({"a", "b"});
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Join({"c"});
  EXPECT_EQ(player.Asked(), (Names{"a", "b", "c"}));
}

TEST(RoundTest, AsksOnlyWhenTheAttemptIsStored) {
  Player player(SmallRun());
  player.Send(ClientsArrived{{{"a"}, {"b"}, {"c"}}});
  ASSERT_EQ(player.Got<StoreAttempt>().size(), 1u);
  EXPECT_TRUE(player.Asked().empty());
  player.Send(AttemptStored{});
  EXPECT_EQ(player.Asked().size(), 3u);
}

TEST(RoundTest, WaitsForEvaluatorsBeforeTheFirstRound) {
  RunSpec run = SmallRun(1, 1);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 1;
  Player player(run);
  player.Join({"a"});
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Join({"e"}, true);
  EXPECT_EQ(player.Got<AskEvaluate>().size(), 1u);
  player.SendAndStore(EvaluationCounted{"e", {10, 5, 1.0, 1}});
  EXPECT_EQ(player.Asked(), Names{"a"});
}

TEST(RoundTest, ClosesWhenEverybodyAnswered) {
  Player player(SmallRun(1));
  player.Join({"a", "b", "c"});
  player.Update("a");
  player.Update("b");
  EXPECT_TRUE(player.Got<CommitRound>().empty());
  player.Update("c");
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
  ASSERT_EQ(player.Got<FinishRun>().size(), 1u);
  EXPECT_TRUE(player.Got<FinishRun>()[0].ok);
}

TEST(RoundTest, ClosesAtTheDeadlineWithEnoughUpdates) {
  Player player(SmallRun(1, 2));
  player.Join({"a", "b", "c"});
  player.Update("a");
  player.Update("b");
  EXPECT_EQ(player.machine().Wakeup(), player.now() + Seconds(60));
  player.Wait(59);
  EXPECT_TRUE(player.Got<CommitRound>().empty());
  player.Wait(1);
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
}

TEST(RoundTest, OverSelectionAsksMoreAndTakesTheFirst) {
  RunSpec run = SmallRun(1, 2);
  run.schedule[0].cohort = 4;
  run.schedule[0].over_selection = 0.5;
  Player player(run);
  player.Join({"a", "b", "c", "d", "e", "f", "g", "h"});
  const Names asked = player.Asked();
  ASSERT_EQ(asked.size(), 6u);
  std::size_t sent = 0;
  for (const std::string& client : asked) {
    if (player.machine().stage() != Stage::kTraining) break;
    player.Update(client);
    ++sent;
  }
  EXPECT_EQ(sent, 4u);
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
}

TEST(RoundTest, TheCohortIsAFunctionOfSeedRoundAndWhoIsThere) {
  RunSpec run = SmallRun(2, 2);
  run.schedule[0].cohort = 2;
  const auto cohorts = [&](std::vector<std::string> order) {
    Player player(run);
    player.Join(order);
    std::vector<Names> all{player.Asked()};
    for (const std::string& client : Names(all[0])) player.Update(client);
    all.push_back(player.Asked());
    return all;
  };
  const auto first = cohorts({"a", "b", "c", "d", "e", "f"});
  EXPECT_EQ(first, cohorts({"f", "c", "b", "a", "e", "d"}));
}

TEST(RoundTest, ADeadClientIsNotWaitedForAndIsAskedAgainWhenItComesBack) {
  Player player(SmallRun(2, 2));
  player.Join({"a", "b", "c"});
  player.Update("a");
  player.Leave("b");
  EXPECT_EQ(player.machine().stage(), Stage::kTraining) << "c is still at work";
  player.Join({"b"});
  EXPECT_EQ(player.Asked(), Names{"b"});
  player.Leave("b");
  player.Update("c");
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
}

TEST(RoundTest, AClientWhoseUpdateIsInIsNotAskedAgain) {
  Player player(SmallRun(1));
  player.Join({"a", "b", "c"});
  player.Update("a");
  player.Leave("a");
  player.Join({"a"});
  EXPECT_TRUE(player.Asked().empty());
  EXPECT_EQ(player.machine().CheckUpdate(player.Key("a")).kind, Kind::kAlreadyHere);
}

TEST(RoundTest, TooFewUpdatesLoseTheAttemptAndTheNextHasANewNumber) {
  Player player(SmallRun());
  player.Join({"a", "b", "c"});
  const std::uint32_t attempt = player.machine().attempt();
  player.Wait(60);
  ASSERT_EQ(player.Got<LoseAttempt>().size(), 1u);
  EXPECT_THAT(player.Got<LoseAttempt>()[0].reason, HasSubstr("0 of 3"));
  player.Wait(1);
  EXPECT_EQ(player.machine().attempt(), attempt + 1);
  EXPECT_EQ(player.Asked().size(), 3u);
}

TEST(RoundTest, TheRunFailsWhenNoAttemptSucceeds) {
  Player player(SmallRun());
  player.Join({"a", "b", "c"});
  for (int attempt = 0; attempt < 5; ++attempt) {
    ASSERT_NE(player.machine().stage(), Stage::kFinished);
    player.Wait(60);
    if (attempt < 4) player.Wait(1);
  }
  ASSERT_EQ(player.Got<FinishRun>().size(), 1u);
  EXPECT_FALSE(player.Got<FinishRun>()[0].ok);
}

TEST(RoundTest, AFailedClientIsNotWaitedFor) {
  Player player(SmallRun(1, 2));
  player.Join({"a", "b", "c"});
  player.Update("a");
  player.SendAndStore(TaskFailed{"b"});
  player.Update("c");
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
}

TEST(RoundTest, EvaluatesEveryKRoundsTheStartAndTheLast) {
  RunSpec run = SmallRun(5, 1);
  run.evaluation.every = 2;
  Player player(run);
  player.Join({"e"}, true);
  player.Join({"a"});
  std::vector<std::uint32_t> evaluated;
  while (player.machine().stage() != Stage::kFinished) {
    if (player.machine().stage() == Stage::kEvaluating) {
      evaluated.push_back(player.machine().committed_round());
      player.SendAndStore(EvaluationCounted{"e", {10, 5, 1.0, 1}});
    } else {
      player.Update("a");
    }
  }
  EXPECT_EQ(evaluated, (std::vector<std::uint32_t>{0, 2, 4, 5}));
}

TEST(RoundTest, AnEvaluationWithoutEvaluatorsIsSkipped) {
  RunSpec run = SmallRun(1, 1);
  run.evaluation.every = 1;
  Player player(run);
  player.Join({"a"});
  ASSERT_EQ(player.Got<StoreEvaluation>().size(), 1u);
  EXPECT_FALSE(player.Got<StoreEvaluation>()[0].total.has_value());
  EXPECT_EQ(player.Asked(), Names{"a"});
}

/// One trainer `a`, one evaluator `e`, in the evaluation of the last round (or of an earlier one).
class EvaluationTest : public ::testing::Test {
 protected:
  static RunSpec Run() {
    RunSpec run = SmallRun(1, 1);
    run.evaluation.every = 1;
    run.evaluation.min_evaluators = 1;
    return run;
  }
  void SetUp() override {
    player_.Join({"e"}, true);
    player_.Join({"a"});
    Evaluate("e");
    player_.Update("a");
    ASSERT_EQ(player_.machine().stage(), Stage::kEvaluating);
    ASSERT_EQ(player_.machine().committed_round(), 1u);
  }
  void Evaluate(const std::string& client) { player_.SendAndStore(EvaluationCounted{client, {10, 5, 1.0, 1}}); }
  std::uint32_t Evaluators() const { return player_.Got<StoreEvaluation>().at(0).evaluators; }

  const RunSpec run_ = Run();
  Player player_{run_};
};

TEST_F(EvaluationTest, AnEvaluatorThatDiesInTheMiddleIsAskedAgainWhenItComesBack) {
  player_.Leave("e");
  EXPECT_EQ(player_.machine().stage(), Stage::kEvaluating);
  EXPECT_EQ(player_.machine().Wakeup(), player_.now() + Seconds(run_.limits.client_timeout_s));
  player_.Join({"e"}, true);
  ASSERT_EQ(player_.Got<AskEvaluate>().size(), 1u);
  Evaluate("e");
  EXPECT_EQ(Evaluators(), 1u);
  EXPECT_EQ(player_.machine().stage(), Stage::kFinished);
}

TEST_F(EvaluationTest, ALateEvaluatorIsAskedWhileTheEvaluationIsOpen) {
  player_.Join({"late"}, true);
  ASSERT_EQ(player_.Got<AskEvaluate>().size(), 1u);
  EXPECT_EQ(player_.Got<AskEvaluate>()[0].client, "late");
  player_.Leave("e");
  Evaluate("late");
  EXPECT_EQ(player_.machine().stage(), Stage::kEvaluating) << "e may come back";
  player_.Wait(run_.limits.client_timeout_s);
  EXPECT_EQ(Evaluators(), 1u);
}

TEST_F(EvaluationTest, GivesUpOnADeadEvaluatorAfterTheClientTimeoutOrAtTheDeadline) {
  player_.Leave("e");
  player_.Wait(run_.limits.client_timeout_s - 1);
  EXPECT_EQ(player_.machine().stage(), Stage::kEvaluating);
  player_.Wait(1);
  ASSERT_EQ(player_.Got<StoreEvaluation>().size(), 1u);
  EXPECT_FALSE(player_.Got<StoreEvaluation>()[0].total.has_value());

  RunSpec brief = Run();
  brief.evaluation.deadline_s = 2;
  Player hurried(brief);
  hurried.Join({"a"});
  hurried.Join({"e"}, true);
  hurried.Leave("e");
  EXPECT_EQ(hurried.machine().Wakeup(), hurried.now() + Seconds(2));
  hurried.Wait(2);
  EXPECT_EQ(hurried.Got<StoreEvaluation>().size(), 1u);
}

TEST_F(EvaluationTest, AnEvaluatorThatDiedBeforeTheEvaluationIsWaitedFor) {
  Player player(run_);
  player.Join({"e"}, true);
  player.Join({"a"});
  player.SendAndStore(EvaluationCounted{"e", {10, 5, 1.0, 1}});
  player.Leave("e");
  player.Update("a");
  EXPECT_EQ(player.machine().stage(), Stage::kEvaluating);
  player.Join({"e"}, true);
  EXPECT_EQ(player.Got<AskEvaluate>().size(), 1u);
}

TEST(RoundTest, ATrainerThatComesBackAsEvaluatorIsNotWaitedForAsTrainer) {
  Player player(SmallRun(1, 1));
  player.Join({"a", "b"});
  player.Leave("b");
  player.Join({"b"});
  player.Update("a");
  player.Join({"b"}, true);
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
}

TEST(RoundTest, StopsEarlyWithoutABetterEvaluation) {
  RunSpec run = SmallRun(100, 1);
  run.evaluation.every = 1;
  run.evaluation.patience = 2;
  run.evaluation.min_improvement = 0.05;
  Player player(run);
  player.Join({"e"}, true);
  player.Join({"a"});
  const std::uint64_t correct[] = {10, 50, 54, 53};
  for (std::uint32_t round = 0; round < 4; ++round) {
    player.SendAndStore(EvaluationCounted{"e", {100, correct[round], 1.0, 1}});
    EXPECT_EQ(player.Got<StoreEvaluation>()[0].best, round < 2) << round;
    if (round < 3) player.Update("a");
  }
  EXPECT_EQ(player.machine().stage(), Stage::kFinished);
  EXPECT_THAT(player.Got<FinishRun>().at(0).reason, HasSubstr("patience"));
}

ResumePoint AfterRoundOne() {
  ResumePoint resume;
  resume.resumed = true;
  resume.committed_round = 1;
  resume.committed_attempt = 1;
  resume.evaluated = true;
  resume.last_attempt = 3;
  resume.expected = {"a", "b", "c", "d"};
  return resume;
}

TEST(RoundTest, ARestartWaitsForTheSameCohort) {
  RunSpec run = SmallRun(3, 2);
  run.schedule[0].cohort = 2;
  ResumePoint resume = AfterRoundOne();
  resume.cohort = {"b", "d"};
  Player player(run, resume);
  player.Join({"a", "b", "c"});
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Join({"d"});
  EXPECT_EQ(player.Asked(), (Names{"b", "d"}));
  EXPECT_EQ(player.machine().attempt(), 4u);
}

TEST(RoundTest, ARestartGoesOnWithoutThoseWhoDoNotComeBack) {
  RunSpec run = SmallRun(3, 2);
  ResumePoint resume = AfterRoundOne();
  resume.cohort = {"b", "d"};
  Player player(run, resume);
  player.Join({"a", "b", "c"});
  EXPECT_EQ(player.machine().Wakeup(), player.now() + Seconds(30));
  player.Wait(30);
  EXPECT_EQ(player.Asked(), (Names{"a", "b", "c"}));
}

TEST(RoundTest, VerdictsNameWhatIsWrong) {
  Player player(SmallRun());
  player.Join({"a", "b", "c"});
  EXPECT_EQ(player.machine().CheckUpdate(player.Key("a")).kind, Kind::kWanted);
  EXPECT_THAT(player.machine().CheckUpdate(player.Key("x")).reason, HasSubstr("x is not in the cohort"));
  EXPECT_THAT(player.machine().CheckUpdate({"a", 9, 1, 0}).reason, HasSubstr("round 1 attempt 1 is"));
  EXPECT_EQ(player.machine().CheckUpdate({"a", 1, 1, kEvaluateStep}).kind, Kind::kRefused);
  EXPECT_EQ(player.machine().CheckEvaluation({"a", 0, 0, kEvaluateStep}).kind, Kind::kRefused);
}

/// Random worlds: whatever happens, the rules hold, and a run whose clients behave at last ends.
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
      return Send(UpdateCounted{client.id});
    }
    if (machine_.CheckEvaluation(evaluate).kind == Kind::kWanted) {
      Send(EvaluationCounted{client.id, {10, random_.NextBelow(10), 1.0, 1}});
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
