// Whole runs under central differential privacy, in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/privacy.h"
#include "server/checkpoint.h"
#include "server/store.h"
#include "tests/server/coordinator_fixture.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using testing::Federation;
using ::testing::HasSubstr;
using testing::RoundsOf;
using ::testing::SizeIs;
using testing::SmallRun;

constexpr int kClients = 8;

RunSpec PrivateRun(std::uint32_t rounds, double epsilon) {
  RunSpec run = SmallRun(rounds, kClients);
  run.schedule[0].cohort = 4;
  run.schedule[0].reducer.weights = ReducerSpec::Weights::kUniform;
  run.privacy.mechanism = PrivacySpec::Mechanism::kCentral;
  run.privacy.population = kClients;
  run.privacy.budget = {epsilon, 1e-3};
  run.privacy.accountant = privacy::AccountantKind::kRdp;
  run.privacy.noise_multiplier = 2;
  run.privacy.clip = 0.05;
  return run;
}

/// Everybody who is asked answers, at most that often, or until the run is over.
void Play(Federation& federation, int answers = 1'000'000) {
  while (answers-- > 0) {
    const auto task = federation.service().TakeTrainOrEnd();
    if (!task) return;
    EXPECT_EQ(federation.Upload(*task).ToString(), "OK");
  }
}

std::vector<privacy::Release> ReleasesOf(const std::string& state) {
  return *StateReader::Open(state)->Releases();
}

TEST(PrivateRunTest, EachRoundIsInTheLedgerWithWhatItCost) {
  TempFolder state;
  const RunSpec run = PrivateRun(4, 100);
  Federation federation(state.path(), run);
  federation.JoinAll(kClients);
  Play(federation);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<RoundRecord> rounds = RoundsOf(state.path());
  ASSERT_THAT(rounds, SizeIs(5));
  EXPECT_FALSE(rounds[0].privacy.has_value());
  for (std::size_t i = 1; i < rounds.size(); ++i) {
    ASSERT_TRUE(rounds[i].privacy.has_value());
    EXPECT_EQ(rounds[i].privacy->clip, 0.05);
    EXPECT_EQ(rounds[i].privacy->noise_multiplier, 2);
    EXPECT_NE(rounds[i].params_sha256, rounds[i - 1].params_sha256) << "noise, if nothing else";
  }
  EXPECT_EQ(ReleasesOf(state.path()), std::vector<privacy::Release>(4, privacy::PoissonSum{0.5, 2}));
}

TEST(PrivateRunTest, E8TheBudgetEndsTheRunAndARestartDoesNotForgetIt) {
  TempFolder state;
  RunSpec run = PrivateRun(50, 0);
  const double three = *EpsilonOf(run, std::vector<privacy::Release>(3, privacy::PoissonSum{0.5, 2}));
  run.privacy.budget.epsilon = three * 1.001;
  {
    Federation federation(state.path(), run);
    federation.JoinAll(kClients);
    Play(federation, 5);  // it dies in some round
  }
  const std::size_t before = ReleasesOf(state.path()).size();
  EXPECT_EQ(before, RoundsOf(state.path()).size() - 1);
  Federation federation(state.path(), run);
  federation.JoinAll(kClients);
  Play(federation);
  const RunOutcome outcome = federation.coordinator().Wait();
  EXPECT_EQ(outcome.kind, RunOutcome::Kind::kFinished);
  EXPECT_THAT(outcome.reason, HasSubstr("privacy budget"));
  const std::vector<privacy::Release> released = ReleasesOf(state.path());
  EXPECT_THAT(released, SizeIs(3));
  EXPECT_LE(*EpsilonOf(run, released), run.privacy.budget.epsilon);
}

TEST(PrivateRunTest, NoNoiseLeavesWhatIsClipped) {
  TempFolder state;
  RunSpec run = PrivateRun(1, 1e15);
  run.schedule[0].cohort = kClients;  // everybody
  run.privacy.noise_multiplier = 1e-5;
  Federation federation(state.path(), run);
  federation.JoinAll(kClients);
  Play(federation);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const auto layout = *PlanLayout(run.plan);
  const auto after = ReadCheckpoint(JoinPath(state.path(), Store::ParamsFile(1)), layout);
  const auto before = ParamVector::Initial(layout, run.seed);
  double squares = 0;
  for (std::size_t i = 0; i < layout->size(); ++i) {
    const double moved = static_cast<double>(after->params.values()[i]) - static_cast<double>(before.values()[i]);
    squares += moved * moved;
  }
  // Eight random updates of norm 0.056, each clipped to 0.05: their mean.
  EXPECT_NEAR(std::sqrt(squares), 0.05 / std::sqrt(kClients), 0.008);
}

TEST(PrivateRunTest, AnAdaptiveClipGoesOnAfterARestart) {
  TempFolder state;
  RunSpec run = PrivateRun(30, 1e6);
  run.schedule[0].cohort = kClients;
  run.privacy.clip = 0.001;
  run.privacy.adaptive = privacy::AdaptiveClip{.quantile = 0.5, .rate = 0.5, .count_noise = 1.1};
  {
    Federation federation(state.path(), run);
    federation.JoinAll(kClients);
    Play(federation, 15 * kClients);
  }
  const std::vector<RoundRecord> rounds = RoundsOf(state.path());
  Federation federation(state.path(), run);
  federation.JoinAll(kClients);
  Play(federation);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<RoundRecord> all = RoundsOf(state.path());
  for (std::size_t i = 2; i < all.size(); ++i) EXPECT_EQ(all[i].privacy->clip, all[i - 1].privacy->next_clip) << i;
  EXPECT_GT(all.back().privacy->next_clip, 0.02) << "the updates' norm is about 0.056";
}

TEST(PrivateRunTest, FindsTheNoiseForItsBudget) {
  TempFolder state;
  RunSpec run = PrivateRun(2, 3);
  run.privacy.noise_multiplier = 0;
  Federation federation(state.path(), run);
  federation.JoinAll(kClients);
  Play(federation);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<privacy::Release> released = ReleasesOf(state.path());
  EXPECT_THAT(released, SizeIs(2));
  EXPECT_LE(*EpsilonOf(run, released), 3);
  EXPECT_GT(*EpsilonOf(run, released), 2.99);
}

}  // namespace
}  // namespace fedpeft::server
