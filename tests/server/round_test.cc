// Who is asked, and when a round closes.
#include "server/round.h"

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
using Kind = Verdict::Kind;

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
  player.SendAndStore(EvaluationCounted{"e", {fedpeft::testing::Counted(10, 5, 1), 1}});
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

TEST(RoundTest, ATrainerThatComesBackAsEvaluatorIsNotWaitedForAsTrainer) {
  Player player(SmallRun(1, 1));
  player.Join({"a", "b"});
  player.Leave("b");
  player.Join({"b"});
  player.Update("a");
  player.Join({"b"}, true);
  EXPECT_EQ(player.Got<CommitRound>().size(), 1u);
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

}  // namespace
}  // namespace fedpeft::server
