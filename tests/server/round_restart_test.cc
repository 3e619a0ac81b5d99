// Where a run goes on after its process ended, and for whom it waits.
#include <gtest/gtest.h>

#include "tests/server/round_player.h"

namespace fedpeft::server {
namespace {

using testing::Names;
using testing::Player;
using testing::SmallRun;
using testing::Stage;

ResumePoint AfterRoundOne() {
  ResumePoint resume;
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

TEST(RoundTest, ARunThatIsOverWaitsForThoseWhoHaveNotHeardOfIt) {
  const RunSpec run = SmallRun(1, 2);
  ResumePoint resume = AfterRoundOne();
  resume.expected = {"a", "b"};
  Player player(run, resume);
  EXPECT_EQ(player.machine().Wakeup(), player.now() + Seconds(30));
  player.Join({"a"});
  EXPECT_TRUE(player.Got<FinishRun>().empty());
  player.Join({"b"});
  ASSERT_EQ(player.Got<FinishRun>().size(), 1u);
  EXPECT_TRUE(player.Got<FinishRun>()[0].ok);

  Player gone(run, resume);
  gone.Join({"a"});
  gone.Leave("a");
  gone.Join({"b"});
  EXPECT_EQ(gone.Got<FinishRun>().size(), 1u) << "a was back, and left";

  // Rounds that end within seconds do not shorten the time that clients have to come back.
  RunSpec brief = run;
  brief.schedule[0].deadline_s = 1;
  Player deserted(brief, resume);
  deserted.Wait(29);
  EXPECT_TRUE(deserted.Got<FinishRun>().empty());
  deserted.Wait(1);
  EXPECT_EQ(deserted.Got<FinishRun>().size(), 1u);
}

TEST(RoundTest, ARunThatIsOverAndWhoseClientsHaveAllLeftEndsAtOnce) {
  ResumePoint resume = AfterRoundOne();
  resume.expected.clear();
  RunMachine machine(SmallRun(1, 2), resume);
  const std::vector<Action> actions = machine.Handle(Instant{}, Tick{});
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<FinishRun>(actions[0]));
}

TEST(RoundTest, ARestartBeforeTheStartIsEvaluatedStillWaitsForItsEvaluators) {
  RunSpec run = SmallRun(1, 1);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 1;
  ResumePoint resume;
  resume.expected = {"a", "gone"};
  Player player(run, resume);
  player.Join({"a"});
  player.Wait(30);
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  EXPECT_EQ(player.machine().Wakeup(), std::nullopt);
  player.Wait(run.limits.client_timeout_s);
  EXPECT_TRUE(player.Got<StoreEvaluation>().empty());
  player.Join({"e"}, true);
  EXPECT_EQ(player.Got<AskEvaluate>().size(), 1u) << "without the one who is gone";
}

}  // namespace
}  // namespace fedpeft::server
