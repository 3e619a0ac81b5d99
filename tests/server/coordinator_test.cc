// A whole run with clients that are played in the process: commits, evaluations, restarts.
#include "server/coordinator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

#include "peft/metrics/metrics.h"
#include "tests/server/coordinator_fixture.h"
#include "tests/support/counted.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using testing::Federation;
using ::testing::HasSubstr;
using testing::LastHash;
using testing::PlayRun;
using testing::RoundsOf;
using testing::SmallRun;
using testing::Tasks;

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
  EXPECT_EQ(rounds[3].bytes_up, 3 * federation.coordinator().max_update_bytes());
  EXPECT_EQ(rounds[3].bytes_down, 3 * federation.coordinator().max_update_bytes());
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
    const Bytes zeros(federation.coordinator().max_update_bytes());
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

TEST(CoordinatorTest, EvaluationsAreSummedStoredAndDecideTheBestRound) {
  TempFolder folder;
  RunSpec run = SmallRun(2, 1);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 2;
  Federation federation(folder.path(), run);
  federation.Join(1, "t");
  federation.Join(2, "e1", true);
  federation.Join(3, "e2", true);
  const std::int64_t correct[] = {1, 6, 4};
  for (std::uint32_t round = 0; round <= 2; ++round) {
    if (round > 0) federation.PlayRound(1);
    for (const auto& task : federation.service().Take<EvaluateTask>(2)) {
      EXPECT_EQ(task.second.key.round, round);
      EXPECT_TRUE(federation.Evaluate(task, {fedpeft::testing::Counted(10, correct[round], 5), 1}).ok());
    }
  }
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<RoundRecord> rounds = RoundsOf(folder.path());
  EXPECT_DOUBLE_EQ(*MetricOf(Metric::kAccuracy, rounds[1].evaluation->counts.totals), 0.6);
  EXPECT_EQ(rounds[1].evaluation->counts.totals.examples(), 20u);
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
