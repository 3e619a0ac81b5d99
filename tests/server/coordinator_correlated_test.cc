// Whole runs under correlated noise, in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "configs/privacy.h"
#include "server/store.h"
#include "tests/server/coordinator_fixture.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using testing::Federation;
using ::testing::HasSubstr;
using testing::LastHash;
using testing::RoundsOf;
using ::testing::SizeIs;
using testing::SmallRun;

constexpr int kBandClients = 8;

/// Two of eight clients a round, each in at most one of three.
RunSpec CorrelatedRun(std::uint32_t rounds) {
  RunSpec run = SmallRun(rounds, 2);
  run.schedule[0].cohort = 2;
  run.schedule[0].reducer.weights = ReducerSpec::Weights::kUniform;
  run.privacy.mechanism = PrivacySpec::Mechanism::kDpFtrl;
  run.privacy.min_separation = 3;
  run.privacy.budget = {8, 1e-3};
  run.privacy.noise_multiplier = 2;
  run.privacy.clip = 0.05;
  return run;
}

/// Everybody who is asked answers, at most that often, or until the run is over.
void Play(const std::string& state, const RunSpec& run, int answers = 1'000'000) {
  Federation federation(state, run);
  federation.JoinAll(kBandClients);
  while (answers-- > 0) {
    const auto task = federation.service().TakeTrainOrEnd();
    if (!task) break;
    EXPECT_EQ(federation.Upload(*task).ToString(), "OK");
  }
  if (answers >= 0) {
    EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  }
}

/// The run has its key, and nothing else yet.
void Begin(const std::string& state, const RunSpec& run) {
  Federation begun(state, run);
}

TEST(CorrelatedRunTest, AllRoundsAreOneReleaseWhichTheFirstPaysFor) {
  TempFolder state;
  const RunSpec run = CorrelatedRun(9);
  const std::vector<privacy::Release> one{privacy::GaussianSum{2}};
  Play(state.path(), run, 3);
  EXPECT_EQ(StateReader::Open(state.path())->Releases().value(), one);
  EXPECT_EQ(RoundsOf(state.path()).back().round, 1u);
  Play(state.path(), run);
  EXPECT_EQ(StateReader::Open(state.path())->Releases().value(), one);
  EXPECT_NEAR(*EpsilonOf(run, one), 1.3, 0.3);
  const std::vector<RoundRecord> rounds = RoundsOf(state.path());
  ASSERT_THAT(rounds, SizeIs(10));
  EXPECT_EQ(rounds[9].privacy->noise_multiplier, 2);
}

TEST(CorrelatedRunTest, D13AClientsRoundsAreApartAlsoOverRestarts) {
  TempFolder state;
  const RunSpec run = CorrelatedRun(12);
  for (int life = 0; life < 5; ++life) Play(state.path(), run, 5);
  Play(state.path(), run);
  std::map<std::string, std::uint32_t> last;
  Result<StateReader> reader = StateReader::Open(state.path());
  for (std::uint32_t round = 1; round <= 12; ++round) {
    const std::vector<Submission> submissions = reader->Submissions(round).value();
    EXPECT_THAT(submissions, SizeIs(2));
    for (const Submission& one : submissions) {
      if (last.contains(one.client)) {
        EXPECT_GE(round - last[one.client], 3u) << one.client;
      }
      last[one.client] = round;
    }
  }
}

// Noise is a function of the key and the round.
TEST(CorrelatedRunTest, ARunThatIsKilledEndsWithTheSameParameters) {
  TempFolder whole, killed, stranger;
  const RunSpec run = CorrelatedRun(8);
  Begin(whole.path(), run);
  std::filesystem::copy(whole.path(), killed.path(),
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  Play(whole.path(), run);
  for (const int answers : {1, 4, 5}) Play(killed.path(), run, answers);
  Play(killed.path(), run);
  EXPECT_EQ(LastHash(killed.path()), LastHash(whole.path()));
  Play(stranger.path(), run);
  EXPECT_NE(LastHash(stranger.path()), LastHash(whole.path())) << "another key";
}

TEST(CorrelatedRunTest, ARunThatIsOverNeedsNoKey) {
  TempFolder state;
  const RunSpec run = CorrelatedRun(2);
  Play(state.path(), run);
  Play(state.path(), run);
  EXPECT_EQ(RoundsOf(state.path()).back().round, 2u);
}

TEST(CorrelatedRunTest, ARunThatItsBudgetIsTooSmallForIsRefused) {
  TempFolder state;
  RunSpec run = CorrelatedRun(9);
  run.privacy.budget.epsilon = 0.5;
  const auto opened = Coordinator::Open({state.path(), "config", run});
  EXPECT_EQ(opened.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(opened.status().message(), HasSubstr("all 9 rounds of dp_ftrl cost together"));
  run.privacy.noise_multiplier = 0;  // the least that is enough
  ASSERT_TRUE(ResolveNoise(run).ok());
  EXPECT_NEAR(*EpsilonOf(run, {privacy::GaussianSum{run.privacy.noise_multiplier}}), 0.5, 1e-3);
}

}  // namespace
}  // namespace fedpeft::server
