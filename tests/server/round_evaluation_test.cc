// Who evaluates when, who is waited for, and when evaluations end the run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/round_player.h"
#include "tests/support/counted.h"

namespace fedpeft::server {
namespace {

using ::testing::HasSubstr;
using testing::Names;
using testing::Player;
using testing::SmallRun;
using testing::Stage;

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
      player.SendAndStore(EvaluationCounted{"e", {fedpeft::testing::Counted(10, 5, 1), 1}});
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
  void Evaluate(const std::string& client) {
    player_.SendAndStore(EvaluationCounted{client, {fedpeft::testing::Counted(10, 5, 1), 1}});
  }
  std::uint32_t Evaluators() const { return player_.Got<StoreEvaluation>().at(0).evaluators; }

  const RunSpec run_ = Run();
  Player player_{run_};
};

TEST_F(EvaluationTest, TotalsDoNotDependOnTheOrderOfAnswers) {
  const auto totals = [this](std::vector<std::pair<std::string, double>> answers) {
    Player player(run_);
    player.Join({"e", "f", "g"}, true);
    player.Join({"a"});
    for (const auto& [client, loss] : answers)
      player.SendAndStore(EvaluationCounted{client, {fedpeft::testing::Counted(10, 5, loss), 1}});
    return player.Got<StoreEvaluation>().at(0).total->totals;
  };
  // As doubles, 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ.
  EXPECT_EQ(totals({{"e", 0.1}, {"f", 0.2}, {"g", 0.3}}), totals({{"g", 0.3}, {"f", 0.2}, {"e", 0.1}}));
}

TEST_F(EvaluationTest, CountsThatDoNotFitTheTotalsAreLeftOut) {
  player_.Join({"liar"}, true);
  Totals most;
  ASSERT_TRUE(most.Add(sum::kLoss, std::numeric_limits<std::int64_t>::max()).ok());
  Evaluate("e");
  player_.SendAndStore(EvaluationCounted{"liar", {most, 1}});
  EXPECT_EQ(Evaluators(), 1u);
  EXPECT_EQ(player_.Got<StoreEvaluation>()[0].total->totals.examples(), 10u);
}

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
  player.SendAndStore(EvaluationCounted{"e", {fedpeft::testing::Counted(10, 5, 1), 1}});
  player.Leave("e");
  player.Update("a");
  EXPECT_EQ(player.machine().stage(), Stage::kEvaluating);
  player.Join({"e"}, true);
  EXPECT_EQ(player.Got<AskEvaluate>().size(), 1u);
}

TEST(RoundTest, StopsEarlyWithoutABetterEvaluation) {
  RunSpec run = SmallRun(100, 1);
  run.evaluation.every = 1;
  run.evaluation.patience = 2;
  run.evaluation.min_improvement = 0.05;
  Player player(run);
  player.Join({"e"}, true);
  player.Join({"a"});
  const std::int64_t correct[] = {10, 50, 54, 53};
  for (std::uint32_t round = 0; round < 4; ++round) {
    player.SendAndStore(EvaluationCounted{"e", {fedpeft::testing::Counted(100, correct[round], 1), 1}});
    EXPECT_EQ(player.Got<StoreEvaluation>()[0].best, round < 2) << round;
    if (round < 3) player.Update("a");
  }
  EXPECT_EQ(player.machine().stage(), Stage::kFinished);
  EXPECT_THAT(player.Got<FinishRun>().at(0).reason, HasSubstr("patience"));
}

TEST(RoundTest, ATrainerWithHeldOutExamplesEvaluatesToo) {
  RunSpec run = SmallRun(1, 2);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 1;
  Player player(run);
  player.SendAndStore(ClientsArrived{{{"a", false, 10, 5}, {"b", false, 10, 0}}});
  ASSERT_EQ(player.machine().stage(), Stage::kEvaluating);  // of the start
  ASSERT_EQ(player.Got<AskEvaluate>().size(), 1u);
  EXPECT_EQ(player.Got<AskEvaluate>()[0].client, "a");
  player.SendAndStore(EvaluationCounted{"a", {fedpeft::testing::Counted(5, 3, 1), 1}});
  EXPECT_EQ(player.Asked(), (Names{"a", "b"}));
  player.Update("a");
  player.Update("b");
  EXPECT_EQ(player.machine().stage(), Stage::kEvaluating);
  // Without its held-out examples it only trains.
  player.SendAndStore(ClientsArrived{{{"a", false, 10, 0}}});
  player.Wait(run.limits.client_timeout_s + 1);
  EXPECT_EQ(player.machine().stage(), Stage::kFinished);
}

}  // namespace
}  // namespace fedpeft::server
