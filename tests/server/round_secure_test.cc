// The rules of a round under secure aggregation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/server/round_player.h"

namespace fedpeft::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::Names;
using testing::Player;
using ::testing::SizeIs;
using testing::SmallRun;
using testing::Stage;

RunSpec SecureRun(std::uint32_t rounds = 3, std::uint32_t clients = 5) {
  RunSpec run = SmallRun(rounds, clients);
  run.secure.on = true;
  return run;
}

void JoinAndTrain(Player& player, const std::vector<std::string>& clients) {
  player.Join(clients);
  for (const std::string& client : clients) player.Update(client);
}

TEST(SecureRoundTest, ASumIsOpenedAmongThoseWhoHaveTrained) {
  Player player(SecureRun());
  player.Join({"a", "b", "c", "d", "e", "f"});
  for (const char* client : {"a", "b", "c", "e", "f"}) player.Update(client);
  EXPECT_EQ(player.machine().stage(), Stage::kTraining);
  player.SendAndStore(TaskFailed{"d"});
  ASSERT_THAT(player.Got<OpenSum>(), SizeIs(1));
  EXPECT_THAT(player.Got<OpenSum>()[0].clients, ElementsAre("a", "b", "c", "e", "f"));
  EXPECT_THAT(player.Got<CommitRound>(), IsEmpty());
  EXPECT_EQ(player.machine().stage(), Stage::kSumming);
  player.SendAndStore(SumClosed{});
  EXPECT_THAT(player.Got<CommitRound>(), SizeIs(1));
  EXPECT_EQ(player.machine().committed_round(), 1u);
}

TEST(SecureRoundTest, WhoLeavesTakesTheUpdateAlongAndIsAskedAgain) {
  Player player(SecureRun());
  player.Join({"a", "b", "c", "d", "e"});
  for (const char* client : {"a", "b", "c", "d"}) player.Update(client);
  player.Leave("a");
  player.Update("e");
  // Nobody is left to wait for, and four are too few.
  ASSERT_THAT(player.Got<LoseAttempt>(), SizeIs(1));

  player.Wait(1);
  player.Join({"a"});
  EXPECT_EQ(player.Asked(), (Names{"a", "b", "c", "d", "e"}));
  for (const char* client : {"a", "b", "c", "d"}) player.Update(client);
  // It comes back as another process before it was seen to leave.
  player.Join({"a"});
  EXPECT_EQ(player.Asked(), Names{"a"});
  player.Update("e");
  EXPECT_EQ(player.machine().stage(), Stage::kTraining);
  player.Update("a");
  EXPECT_THAT(player.Got<OpenSum>(), SizeIs(1));
}

TEST(SecureRoundTest, NobodyIsWaitedForOnceTheSumIsOpen) {
  Player player(SecureRun());
  JoinAndTrain(player, {"a", "b", "c", "d", "e"});
  player.Leave("a");
  player.Join({"a"});
  EXPECT_THAT(player.Asked(), IsEmpty());
  EXPECT_EQ(player.machine().CheckUpdate(player.Key("a")).kind, Verdict::Kind::kRefused);
  EXPECT_FALSE(player.machine().Wakeup().has_value());
}

TEST(SecureRoundTest, ASumThatFailsCostsAnAttempt) {
  Player player(SecureRun());
  JoinAndTrain(player, {"a", "b", "c", "d", "e"});
  player.SendAndStore(SumAborted{"too few", false});
  EXPECT_THAT(player.Got<LoseAttempt>(), SizeIs(1));
  player.Wait(1);
  EXPECT_EQ(player.machine().round(), 1u);
  EXPECT_EQ(player.machine().attempt(), 2u);
  EXPECT_THAT(player.Asked(), SizeIs(5));
}

TEST(SecureRoundTest, WhoIsExpelledIsNotAskedAgain) {
  Player player(SecureRun());
  JoinAndTrain(player, {"a", "b", "c", "d", "e", "f"});
  EXPECT_EQ(player.machine().stage(), Stage::kSumming);
  player.SendAndStore(ClientExpelled{"c"});
  player.SendAndStore(SumAborted{"too few", false});
  player.Join({"c"});
  player.Wait(1);
  EXPECT_EQ(player.machine().attempt(), 2u);
  EXPECT_EQ(player.Asked(), (Names{"a", "b", "d", "e", "f"}));
}

TEST(SecureRoundTest, OneThatFailsOnceUnmaskingWasAskedForCostsTheRound) {
  Player player(SecureRun());
  JoinAndTrain(player, {"a", "b", "c", "d", "e"});
  player.SendAndStore(SumAborted{"too few", true});
  ASSERT_THAT(player.Got<VoidRound>(), SizeIs(1));
  EXPECT_EQ(player.Got<VoidRound>()[0].round, 1u);
  EXPECT_EQ(player.machine().committed_round(), 1u);
  EXPECT_THAT(player.Asked(), SizeIs(5));
  EXPECT_EQ(player.machine().round(), 2u);
}

TEST(SecureRoundTest, VoidRoundsOneAfterAnotherEndTheRun) {
  RunSpec run = SecureRun(100);
  run.limits.max_attempts = 3;
  Player player(run);
  player.Join({"a", "b", "c", "d", "e"});
  for (std::uint32_t round = 1; round <= 3; ++round) {
    for (const char* client : {"a", "b", "c", "d", "e"}) player.Update(client);
    player.SendAndStore(SumAborted{"canaries", true});
    EXPECT_EQ(player.machine().committed_round(), round);
  }
  ASSERT_THAT(player.Got<FinishRun>(), SizeIs(1));
  EXPECT_FALSE(player.Got<FinishRun>()[0].ok);
}

TEST(SecureRoundTest, AnEvaluatorThatComesBackIsCountedOnce) {
  RunSpec run = SecureRun();
  run.evaluation.every = 1;
  Player player(run);
  player.Join({"eve", "eva"}, /*evaluator=*/true);
  player.Join({"a", "b", "c", "d", "e"});
  EvaluateStats stats;
  ASSERT_TRUE(stats.totals.Add(sum::kExamples, 10).ok());
  player.SendAndStore(EvaluationCounted{"eve", stats});
  player.Join({"eve"}, /*evaluator=*/true);
  EXPECT_THAT(player.Got<AskEvaluate>(), IsEmpty());
  const TaskKey key{"eve", 0, 0, kEvaluateStep};
  EXPECT_EQ(player.machine().CheckEvaluation(key).kind, Verdict::Kind::kAlreadyHere);
}

TEST(SecureRoundTest, AStepThatFailsAfterTheSumCostsTheRound) {
  Player player(SecureRun());
  JoinAndTrain(player, {"a", "b", "c", "d", "e"});
  player.Send(SumClosed{});
  player.SendAndStore(SumSpoiled{"not finite"});
  EXPECT_THAT(player.Got<VoidRound>(), SizeIs(1));
  EXPECT_EQ(player.machine().committed_round(), 1u);
}

TEST(SecureRoundTest, F12_ACrashWhileUnmaskingVoidsTheRound) {
  ResumePoint resume;
  resume.committed_round = 1;
  resume.committed_attempt = 1;
  resume.evaluated = true;
  resume.last_attempt = 2;
  resume.unmasking = true;
  resume.cohort = {"a", "b", "c", "d", "e"};
  Player player(SecureRun(), resume);
  player.Join({"a", "b", "c", "d", "e", "f"});
  ASSERT_THAT(player.Got<VoidRound>(), SizeIs(1));
  EXPECT_EQ(player.Got<VoidRound>()[0].round, 2u);
  EXPECT_EQ(player.Got<VoidRound>()[0].attempt, 2u);
  EXPECT_EQ(player.machine().round(), 3u);
  EXPECT_THAT(player.Asked(), SizeIs(6)) << "another round has a cohort of its own";
}

}  // namespace
}  // namespace fedpeft::server
