// Whole runs in which clients make the noise: the coordinator and real clients' sessions in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "configs/clip_groups.h"
#include "configs/privacy.h"
#include "configs/secure.h"
#include "configs/views.h"
#include "server/secure_round.h"
#include "tests/server/secure_federation.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ParamsOf;
using testing::RoundsOf;
using testing::SecureFederation;
using ::testing::SizeIs;
using testing::SmallRun;

constexpr std::uint32_t kClients = 6;
constexpr std::uint32_t kUnmaskStep = kSecureStep + static_cast<std::uint32_t>(privacy::ServerSession::Stage::kUnmask);

RunSpec DistributedRun(std::uint32_t rounds, double noise) {
  RunSpec run = SmallRun(rounds, 5);
  run.schedule[0].cohort = kClients;
  run.schedule[0].reducer.weights = ReducerSpec::Weights::kUniform;
  run.limits.max_clients = 16;
  run.secure.on = true;
  run.secure.max_drop_out = 0.2;
  run.privacy.mechanism = PrivacySpec::Mechanism::kDistributed;
  run.privacy.population = kClients;
  run.privacy.budget = {1e9, 1e-3};
  run.privacy.accountant = privacy::AccountantKind::kRdp;
  run.privacy.noise_multiplier = noise;
  run.privacy.clip = 0.05;
  const auto layout = *PlanLayout(run.plan);
  run.privacy.values = RunViews::Make(run.plan, run.schedule, layout)->max_update_bytes() / sizeof(float);
  return run;
}

std::vector<privacy::Release> ReleasesOf(const std::string& state) {
  return *StateReader::Open(state)->Releases();
}

/// L2.
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) squares += std::pow(double{a[i]} - double{b[i]}, 2);
  return std::sqrt(squares);
}

TEST(DistributedRunTest, EachRoundIsInTheLedgerAndNothingElseIsTold) {
  TempFolder state, clients;
  const RunSpec run = DistributedRun(2, 2);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(kClients);
  for (int round = 0; round < 2; ++round) {
    federation.Train(kClients);
    federation.Sum();
  }
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const privacy::Release release = **RoundRelease(run, 1);
  EXPECT_EQ(ReleasesOf(state.path()), std::vector<privacy::Release>(2, release));
  const RoundRecord round = RoundsOf(state.path()).back();
  ASSERT_TRUE(round.privacy.has_value());
  EXPECT_EQ(round.privacy->clip, 0.05);
  EXPECT_EQ(round.privacy->noise_multiplier, 2);
  EXPECT_EQ(round.examples, 0u);
  EXPECT_FALSE(round.train_loss.has_value());
  EXPECT_EQ(round.secure->saturated, 0u);
}

TEST(DistributedRunTest, TheMeanIsOfClippedUpdatesOverThoseExpected) {
  TempFolder state, clients;
  RunSpec run = DistributedRun(1, 1e-4);
  run.privacy.clip = 0.02;  // all are beyond
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(kClients);
  federation.Train(kClients);
  std::size_t lost = 0;
  std::vector<float> wanted = ParamsOf(state.path(), 0, run);
  federation.Sum([&](const TaskKey& key) {
    if (key.step != kSecureUploadStep) return false;
    if (++lost == 1) return true;
    const Bytes bytes = federation.federation().Update(key);
    std::vector<float> update(bytes.size() / sizeof(float));
    std::memcpy(update.data(), bytes.data(), bytes.size());
    const double norm = Distance(update, std::vector<float>(update.size()));
    EXPECT_GT(norm, run.privacy.clip);
    for (std::size_t i = 0; i < update.size(); ++i) {
      wanted[i] += static_cast<float>(update[i] * run.privacy.clip / norm / kClients);
    }
    return false;
  });
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(RoundsOf(state.path()).back().participants, kClients - 1);
  const std::vector<float> start = ParamsOf(state.path(), 0, run), end = ParamsOf(state.path(), 1, run);
  EXPECT_LE(Distance(wanted, end), 0.01 * Distance(start, end));
}

TEST(DistributedRunTest, D2GroupsHaveTheirPartOfTheNorm) {
  TempFolder state, clients;
  RunSpec run = DistributedRun(1, 1e-4);
  run.privacy.clip = 0.02;
  run.privacy.clip_groups = {{{"head"}, 1e-6}};
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(kClients);
  federation.Train(kClients);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  std::vector<float> moved = ParamsOf(state.path(), 1, run);
  const std::vector<float> start = ParamsOf(state.path(), 0, run);
  for (std::size_t i = 0; i < moved.size(); ++i) moved[i] -= start[i];
  double squares[2] = {0, 0};
  UpdateClipGroups(run, 1)->ForEach(0, std::span<const float>(moved),
                                    [&](std::span<const float> part, std::size_t group) {
                                      for (const float value : part) squares[group] += std::pow(double{value}, 2);
                                    });
  EXPECT_LE(std::sqrt(squares[0]), 0.02 * 2e-3) << "the head";
  EXPECT_GT(std::sqrt(squares[1]), 0.002);
}

// A hundredth of δ is kept for void rounds.
TEST(DistributedRunTest, E10TheSumsHaveWhatVoidRoundsLeaveOfDelta) {
  const RunSpec run = DistributedRun(1, 2);
  const privacy::Release release = **RoundRelease(run, 1);
  privacy::Accountant accountant(run.privacy.accountant);
  ASSERT_TRUE(accountant.Add(release).ok());
  EXPECT_EQ(*EpsilonOf(run, {release}), accountant.Epsilon(0.99 * run.privacy.budget.delta));
}

TEST(DistributedRunTest, D8TheNoiseOfThoseWhoAreLeftIsEnough) {
  TempFolder state, clients;
  RunSpec run = DistributedRun(1, 1000);  // against which the updates are nothing
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(kClients);
  federation.Train(kClients);
  std::size_t lost = 0;
  federation.Sum([&](const TaskKey& key) { return key.step == kSecureUploadStep && ++lost <= 1; });
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<float> start = ParamsOf(state.path(), 0, run), end = ParamsOf(state.path(), 1, run);
  const double n = static_cast<double>(run.privacy.values);
  const double deviation = Distance(start, end) / std::sqrt(n) * kClients;  // of the sum
  const double wanted = run.privacy.noise_multiplier * run.privacy.clip;
  EXPECT_GE(deviation, wanted * (1 - 4 / std::sqrt(2 * n)));
  EXPECT_LE(deviation, wanted * std::sqrt(5.0 / 4) * (1 + 4 / std::sqrt(2 * n)) * 1.01);
}

TEST(DistributedRunTest, E8F12WhatIsAboutToBeUnmaskedIsSpentWhateverComesOfIt) {
  TempFolder state, clients;
  const RunSpec run = DistributedRun(1, 2);
  {
    SecureFederation federation(state.path(), run, clients.path());
    federation.JoinAll(kClients);
    federation.Train(kClients);
    while (const auto next = federation.federation().service().TakeStep()) {
      const auto& [session, task] = *next;
      if (task.key.step == kUnmaskStep) break;  // the coordinator dies before anybody answers
      EXPECT_THAT(ReleasesOf(state.path()), IsEmpty());
      federation.Reply(session, task, federation.StepReply(task));
    }
  }
  EXPECT_THAT(ReleasesOf(state.path()), SizeIs(1));
  SecureFederation federation(state.path(), run, clients.path());
  federation.federation().JoinAll(kClients);
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_THAT(ReleasesOf(state.path()), SizeIs(1));
  EXPECT_EQ(ParamsOf(state.path(), 0, run), ParamsOf(state.path(), 1, run)) << "void";
}

}  // namespace
}  // namespace fedpeft::server
