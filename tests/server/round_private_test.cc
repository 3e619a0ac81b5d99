// The rules of a round under central differential privacy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "configs/privacy.h"
#include "tests/privacy/random.h"
#include "tests/server/round_player.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::SeededRandom;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Names;
using testing::Player;
using ::testing::SizeIs;
using testing::SmallRun;
using testing::Stage;

RunSpec PrivateRun(std::uint32_t rounds, std::uint32_t cohort, std::uint32_t population) {
  RunSpec run = SmallRun(rounds, 1);
  run.schedule[0].cohort = cohort;
  run.schedule[0].min_clients = population;
  run.schedule[0].reducer.weights = ReducerSpec::Weights::kUniform;
  run.privacy.mechanism = PrivacySpec::Mechanism::kCentral;
  run.privacy.population = population;
  run.privacy.noise_multiplier = 1;
  return run;
}

std::vector<std::string> Clients(std::uint32_t count) {
  std::vector<std::string> clients;
  for (std::uint32_t i = 0; i < count; ++i) clients.push_back("client-" + std::to_string(i));
  return clients;
}

/// Cohorts of that many rounds, in which everybody who is asked fails.
std::vector<Names> Cohorts(const RunSpec& run, SeededRandom& random) {
  Player player(run, {}, random);
  std::vector<Names> cohorts;
  const auto note = [&] {
    for (const StoreAttempt& attempt : player.Got<StoreAttempt>()) {
      cohorts.emplace_back(attempt.cohort.begin(), attempt.cohort.end());
    }
  };
  player.Join(Clients(run.privacy.population));
  note();
  while (player.machine().stage() != Stage::kFinished) {
    const Names asked = cohorts.back();
    for (const std::string& client : asked) {
      player.SendAndStore(TaskFailed{client});
      note();
    }
  }
  return cohorts;
}

// What the accountant is told is what happens: cohorts fit a binomial distribution, and each client's share its rate.
TEST(PrivateRoundTest, E10CohortsArePoissonSamples) {
  constexpr std::uint32_t kRounds = 10'000, kPopulation = 20;
  SeededRandom random(1);
  const std::vector<Names> cohorts = Cohorts(PrivateRun(kRounds, 5, kPopulation), random);
  ASSERT_THAT(cohorts, SizeIs(kRounds));
  std::map<std::size_t, int> sizes;
  std::map<std::string, int> rounds;
  for (const Names& cohort : cohorts) {
    ++sizes[cohort.size()];
    for (const std::string& client : cohort) ++rounds[client];
  }
  double statistic = 0;
  int bins = 0;
  for (std::uint32_t size = 0; size <= kPopulation; ++size) {
    const double chance =
        std::exp(std::lgamma(kPopulation + 1) - std::lgamma(size + 1) - std::lgamma(kPopulation - size + 1) +
                 size * std::log(.25) + (kPopulation - size) * std::log(.75));
    if (kRounds * chance < 10) continue;
    statistic += std::pow(sizes[size] - kRounds * chance, 2) / (kRounds * chance);
    ++bins;
  }
  EXPECT_GT(bins, 8);
  EXPECT_LT(statistic, bins + 5 * std::sqrt(2.0 * bins));
  EXPECT_THAT(rounds, SizeIs(kPopulation));
  for (const auto& [client, count] : rounds)
    EXPECT_NEAR(count, kRounds / 4, 5 * std::sqrt(kRounds * .25 * .75)) << client;
}

TEST(PrivateRoundTest, OfTooManyTheMostAreTaken) {
  RunSpec run = PrivateRun(2000, 5, 20);
  run.privacy.max_cohort = 6;
  SeededRandom random(2);
  std::map<std::size_t, int> sizes;
  std::map<std::string, int> rounds;
  for (const Names& cohort : Cohorts(run, random)) {
    ++sizes[cohort.size()];
    for (const std::string& client : cohort) ++rounds[client];
  }
  EXPECT_EQ(sizes.rbegin()->first, 6u);
  EXPECT_GT(sizes[6], 600);
  for (const auto& [client, count] : rounds) EXPECT_NEAR(count, rounds.begin()->second, 150) << client;
}

TEST(PrivateRoundTest, NoMoreThanThePopulationTakePart) {
  SeededRandom random(8);
  Player player(PrivateRun(1, 4, 4), {}, random);  // everybody is drawn
  player.Join(Clients(7));
  EXPECT_THAT(player.Asked(), SizeIs(4));
}

TEST(PrivateRoundTest, TheRunsSeedSaysNothingOfWhoIsDrawn) {
  const RunSpec run = PrivateRun(20, 5, 20);
  SeededRandom one(3), other(4);
  EXPECT_NE(Cohorts(run, one), Cohorts(run, other));
}

// To repeat a round because few are in it would tell how many were drawn.
TEST(PrivateRoundTest, ARoundIsCommittedWhoeverComes) {
  SeededRandom random(5);
  Player player(PrivateRun(1, 2, 4), {}, random);
  player.Join(Clients(4));
  while (player.machine().stage() == Stage::kTraining) player.Wait(100);
  EXPECT_THAT(player.Got<LoseAttempt>(), IsEmpty());
  EXPECT_EQ(player.machine().committed_round(), 1u);
}

RunSpec DistributedRun(std::uint32_t cohort, std::uint32_t population) {
  RunSpec run = PrivateRun(1000, cohort, population);
  run.schedule[0].min_clients = 5;
  run.secure.on = true;
  run.privacy.mechanism = PrivacySpec::Mechanism::kDistributed;
  run.privacy.budget = {2, 1e-3};
  return run;
}

// That a round is void tells everybody how many were drawn: it has to be next to impossible.
TEST(PrivateRoundTest, E10NoRoundIsDrawnFromSoFewThatItMayBeVoid) {
  const RunSpec run = DistributedRun(100, 200);
  const std::optional<std::uint32_t> fewest = FewestToDrawFrom(run, run.schedule[0]);
  ASSERT_TRUE(fewest.has_value());
  EXPECT_GT(*fewest, 30u);
  EXPECT_LT(*fewest, 100u);
  SeededRandom random(9);
  Player player(run, {}, random);
  const std::vector<std::string> clients = Clients(*fewest);
  player.Join({clients.begin() + 1, clients.end()});
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Wait(1000);
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Join({clients[0]});
  EXPECT_EQ(player.machine().stage(), Stage::kTraining);
  EXPECT_FALSE(FewestToDrawFrom(DistributedRun(20, 200), DistributedRun(20, 200).schedule[0]).has_value());
}

// Drawn again because of who failed, a sample would be one of those that do not fail.
TEST(PrivateRoundTest, E10ALostAttemptIsRepeatedAmongTheSameClients) {
  SeededRandom random(10);
  Player player(DistributedRun(100, 200), {}, random);
  player.Join(Clients(120));
  const Names drawn = player.Asked();
  const auto fail = [&] {
    for (const std::string& client : drawn) player.SendAndStore(TaskFailed{client});
  };
  player.Leave(*drawn.begin());
  fail();
  ASSERT_THAT(player.Got<LoseAttempt>(), SizeIs(1));
  EXPECT_THAT(player.Got<LoseAttempt>()[0].reason, ::testing::Not(::testing::ContainsRegex("[0-9]")));
  player.Join({"client-150"});
  player.Wait(1);
  EXPECT_EQ(player.machine().attempt(), 2u);
  Names again = drawn;
  again.erase(again.begin());
  EXPECT_EQ(player.Asked(), again);
  player.Join({*drawn.begin()});
  EXPECT_EQ(player.Asked(), Names{*drawn.begin()});

  ResumePoint resume;  // after a restart too
  resume.last_attempt = 1;
  resume.cohort_lost = true;
  resume.cohort = {"client-7", "client-9", "client-11", "client-13", "client-15", "client-17"};
  Player restarted(DistributedRun(100, 200), resume, random);
  restarted.Join(Clients(120));
  EXPECT_EQ(restarted.Asked(), Names(resume.cohort.begin(), resume.cohort.end()));
}

TEST(PrivateRoundTest, EverybodyWhoWasDrawnIsWaitedFor) {
  SeededRandom random(6);
  Player player(PrivateRun(1000, 1, 8), {}, random);
  player.Join(Clients(8));
  // More than the one that is expected are drawn sooner or later.
  while (player.Asked().size() < 3) player.Wait(100);
  const Names asked = player.Asked();
  const std::uint32_t round = player.machine().round();
  for (const std::string& client : asked) {
    EXPECT_EQ(player.machine().round(), round);
    EXPECT_EQ(player.machine().CheckUpdate(player.Key(client)).kind, Verdict::Kind::kWanted);
    player.Update(client);
  }
  EXPECT_GE(player.machine().committed_round(), round);
}

TEST(PrivateRoundTest, E8TheRunStopsBeforeTheRoundThatWouldOverspend) {
  SeededRandom random(7);
  ResumePoint resume;
  resume.last_affordable_round = 3;
  Player player(PrivateRun(10, 5, 8), resume, random);
  player.Join(Clients(8));
  std::vector<FinishRun> ends;
  while (ends.empty()) {
    player.Wait(100);
    ends = player.Got<FinishRun>();
  }
  EXPECT_EQ(player.machine().committed_round(), 3u);
  EXPECT_TRUE(ends[0].ok);
  EXPECT_THAT(ends[0].reason, HasSubstr("privacy budget allows no round after 3"));
}

}  // namespace
}  // namespace fedpeft::server
