// Processes that die or are asked to stop in the middle of a run.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "peft/core/random.h"
#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using Clients = std::vector<std::unique_ptr<Process>>;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kPrompt{10};

Clients JoinThree(Federation& federation) {
  Clients clients;
  clients.push_back(federation.Join("a", federation.Data(0, 40)));
  clients.push_back(federation.Join("b", federation.Data(100, 30)));
  clients.push_back(federation.Join("c", federation.Data(200, 20)));
  return clients;
}

TEST(CrashTest, CoordinatorKilledTenTimesEndsAsIfNothingHadBeen) {
  // More than ten lives get through, at ten milliseconds a round.
  const Settings settings = {.rounds = 120, .clients = 3};
  Federation undisturbed(settings);
  undisturbed.Serve();
  undisturbed.Finish(JoinThree(undisturbed));

  Federation federation(settings);
  federation.Serve();
  const Clients clients = JoinThree(federation);
  RandomStream random(3, "kills");
  for (int kill = 1; kill <= 10; ++kill) {
    // Two lives of three get somewhere first; the moment itself is random in each.
    ASSERT_TRUE(federation.WaitForRound(federation.LastRound() + static_cast<std::uint32_t>(random.NextBelow(3))));
    ASSERT_FALSE(federation.server().EndsWithin(milliseconds(random.NextBelow(60)))) << "kill " << kill;
    federation.server().Kill();
    const std::vector<std::string> committed = federation.Hashes();
    federation.Serve();
    ASSERT_TRUE(Eventually([&] { return federation.Hashes().size() >= committed.size(); }));
    std::vector<std::string> kept = federation.Hashes();
    kept.resize(committed.size());
    EXPECT_EQ(kept, committed) << "kill " << kill;
  }
  federation.Finish(clients);
  EXPECT_EQ(federation.Hashes().size(), 121);
  EXPECT_EQ(federation.Hashes(), undisturbed.Hashes());
}

/// The last round whose parameters some client has been given, as their logs say: to train the one after it.
std::uint32_t LastReleased(const Clients& clients) {
  std::uint32_t last = 1;
  for (const auto& client : clients) {
    const std::string log = client->errors();
    static const std::regex trained("task\\.trained client=\\S+ round=([0-9]+)");
    for (std::sregex_iterator found(log.begin(), log.end(), trained), end; found != end; ++found) {
      last = std::max(last, static_cast<std::uint32_t>(std::stoul((*found)[1])));
    }
  }
  return last - 1;
}

/// A run whose rounds are in the coordinator's ledger.
struct LedgerCase {
  std::string name;
  Settings settings;
  /// Processes, and virtual clients of each.
  int processes = 3;
  int each = 1;
  /// All rounds are one release.
  bool at_once = false;
};

std::vector<LedgerCase> LedgerCases() {
  const Settings central = {.rounds = 1'000,
                            .clients = 3,
                            .privacy =
                                "{mechanism: central, population: 3, noise_multiplier: 2, accountant: rdp, "
                                "budget: {epsilon: 20, delta: 1e-3}}",
                            .reducer = "{weights: uniform}",
                            .cohort = 2};
  Settings distributed = central;
  distributed.clients = 5;
  distributed.secure = "{mode: pairwise, max_corrupt: 0, max_drop_out: 0.2}";
  distributed.privacy =
      "{mechanism: distributed, population: 6, noise_multiplier: 4, accountant: rdp, budget: {epsilon: 20, delta: "
      "1e-3}}";
  distributed.cohort = 6;
  Settings correlated = central;
  correlated.rounds = 150;
  correlated.privacy = "{mechanism: dp_ftrl, min_separation: 1, accountant: rdp, budget: {epsilon: 20, delta: 1e-3}}";
  correlated.cohort = 3;
  return {{"Central", central}, {"Distributed", distributed, 2, 3}, {"DpFtrl", correlated, 3, 1, true}};
}

class LedgerCrashTest : public ::testing::TestWithParam<LedgerCase> {};

INSTANTIATE_TEST_SUITE_P(Mechanisms, LedgerCrashTest, ::testing::ValuesIn(LedgerCases()),
                         [](const auto& tested) { return tested.param.name; });

// The ledger never says less than what was released, and the run ends where the budget does, however often it dies.
TEST_P(LedgerCrashTest, E8KilledAtAnyMomentTheLedgerHasWhatWasReleased) {
  const LedgerCase& tested = GetParam();
  const int kills = std::getenv("FEDPEFT_FULL") != nullptr ? 50 : 10;
  Federation federation(tested.settings);
  federation.Serve();
  Clients clients;
  for (int i = 0; i < tested.processes; ++i) {
    clients.push_back(federation.Join("p-" + std::to_string(i), federation.Data(100 * static_cast<unsigned>(i), 30),
                                      {"--virtual-clients", std::to_string(tested.each)}));
  }
  const auto budget = [&] {
    return nlohmann::json::parse(federation.Server({"budget", "--state", federation.state(), "--json"}));
  };
  const auto wanted = [&](std::uint32_t rounds) { return tested.at_once ? std::min(rounds, 1u) : rounds; };
  RandomStream random(4, "kills");
  for (int kill = 1; kill <= kills; ++kill) {
    if (random.NextBelow(3) == 0 && budget().at("rounds_left").get<int>() > 0) {
      ASSERT_TRUE(federation.WaitForRound(federation.LastRound() + 1));
    }
    std::this_thread::sleep_for(milliseconds(random.NextBelow(60)));
    const std::uint32_t released = LastReleased(clients);
    federation.server().Kill();
    const nlohmann::json ledger = budget();
    EXPECT_GE(ledger.at("releases").get<std::uint32_t>(), wanted(released)) << "kill " << kill;
    EXPECT_LE(ledger.at("spent").get<double>(), 20) << "kill " << kill;
    federation.Serve();
  }
  federation.Finish(clients);
  const nlohmann::json end = budget();
  EXPECT_EQ(end.at("rounds_left"), 0);
  EXPECT_EQ(end.at("releases").get<std::uint32_t>(), wanted(federation.LastRound()));
  EXPECT_LE(end.at("spent").get<double>(), 20);
  if (tested.at_once) {
    EXPECT_EQ(federation.LastRound(), tested.settings.rounds);
  } else {
    EXPECT_GT(end.at("after_next_round").get<double>(), 20);
  }
}

TEST(CrashTest, ClientsThatHaveNotHeardOfTheEndAreToldByTheNextCoordinator) {
  Federation federation({.rounds = 1, .clients = 2, .deadline_s = 3, .evaluation = "{every: 1, min_evaluators: 1}"});
  federation.Serve();
  Clients clients = JoinThree(federation);
  for (const auto& client : clients) {
    ASSERT_TRUE(Eventually([&] { return client->errors().find("session.joined") != std::string::npos; }));
  }
  // Hears nothing more until the coordinator is gone; the round goes on without it at the deadline.
  clients.front()->Signal(SIGSTOP);
  clients.push_back(federation.Join("eve", federation.Data(300, 10), {"--role", "evaluator"}));
  ASSERT_TRUE(federation.WaitForRound(1));
  federation.server().Kill();
  clients.front()->Signal(SIGCONT);
  federation.Serve();
  federation.Finish(clients);
  EXPECT_NE(federation.server().output().find("run finished"), std::string::npos) << federation.server().output();
}

TEST(CrashTest, RoundEndsWithoutAKilledClientThatThenComesBack) {
  Federation federation({.rounds = 1'000'000, .clients = 2, .deadline_s = 3, .limits = "{client_timeout_s: 1}"});
  federation.Serve();
  Clients clients;
  const std::string data = federation.Data(0, 40), state = federation.File("victim");
  clients.push_back(federation.Join("a", federation.Data(100, 30)));
  clients.push_back(federation.Join("b", federation.Data(200, 20)));
  auto victim = federation.Join("victim", data, {"--state", state});
  const auto participants = [&] { return federation.Rounds().back().at("participants").get<int>(); };
  ASSERT_TRUE(Eventually([&] { return federation.LastRound() > 0 && participants() == 3; }));

  // Stopped, it holds up the round that it is in: the deadline ends that one with the others.
  victim->Signal(SIGSTOP);
  ASSERT_TRUE(Eventually([&] { return participants() == 2; }));
  EXPECT_EQ(federation.Rounds().back()["cohort"], 3);
  victim->Kill();
  const std::uint32_t round = federation.LastRound();
  ASSERT_TRUE(federation.WaitForRound(round + 3));

  // Under the name that the folder remembers.
  victim = federation.Join("", data, {"--state", state});
  EXPECT_TRUE(Eventually([&] { return participants() == 3; })) << victim->errors();
  federation.server().Signal(SIGTERM);
  EXPECT_EQ(federation.server().Wait(kPrompt), 0);
}

TEST(CrashTest, CoordinatorStopsOnSigtermAndGoesOn) {
  Federation federation({.rounds = 30, .clients = 3});
  federation.Serve();
  const Clients clients = JoinThree(federation);
  ASSERT_TRUE(federation.WaitForRound(3));
  federation.server().Signal(SIGTERM);
  EXPECT_EQ(federation.server().Wait(kPrompt), 0);
  EXPECT_NE(federation.server().output().find("run stopped"), std::string::npos) << federation.server().output();
  const std::vector<std::string> committed = federation.Hashes();
  EXPECT_LT(committed.size(), 31);

  federation.Serve();
  federation.Finish(clients);
  std::vector<std::string> hashes = federation.Hashes();
  ASSERT_EQ(hashes.size(), 31);
  hashes.resize(committed.size());
  EXPECT_EQ(hashes, committed);
}

TEST(CrashTest, ClientStopsOnSigterm) {
  Federation federation({.rounds = 1'000'000, .clients = 2});
  federation.Serve();
  const Clients clients = JoinThree(federation);
  // The other two may be training by themselves while this one still starts.
  ASSERT_TRUE(Eventually([&] { return clients.front()->errors().find("session.joined") != std::string::npos; }));
  ASSERT_TRUE(federation.WaitForRound(2));
  clients.front()->Signal(SIGTERM);
  EXPECT_EQ(clients.front()->Wait(kPrompt), 130);
  // It has taken its leave: nobody waits for it.
  ASSERT_TRUE(federation.WaitForRound(federation.LastRound() + 3));
  EXPECT_EQ(federation.Rounds().back()["cohort"], 2);
}

}  // namespace
}  // namespace fedpeft::testing
