// Processes that die or are asked to stop in the middle of a run.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
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

// The ledger never says less than what was released, and the run ends where the budget does, however often it dies.
TEST(CrashTest, E8KilledAtAnyMomentTheLedgerHasWhatWasReleased) {
  const int kills = std::getenv("FEDPEFT_FULL") != nullptr ? 50 : 10;
  Federation federation({.rounds = 1'000,
                         .clients = 3,
                         .privacy = "{mechanism: central, population: 3, noise_multiplier: 2, accountant: rdp, "
                                    "budget: {epsilon: 20, delta: 1e-3}}",
                         .reducer = "{weights: uniform}",
                         .cohort = 2});
  federation.Serve();
  const Clients clients = JoinThree(federation);
  const auto budget = [&] {
    return nlohmann::json::parse(federation.Server({"budget", "--state", federation.state(), "--json"}));
  };
  RandomStream random(4, "kills");
  for (int kill = 1; kill <= kills; ++kill) {
    if (random.NextBelow(3) == 0 && budget().at("rounds_left").get<int>() > 0) {
      ASSERT_TRUE(federation.WaitForRound(federation.LastRound() + 1));
    }
    std::this_thread::sleep_for(milliseconds(random.NextBelow(60)));
    const std::uint32_t released = federation.LastRound();
    federation.server().Kill();
    const nlohmann::json ledger = budget();
    EXPECT_GE(ledger.at("releases").get<std::uint32_t>(), released) << "kill " << kill;
    EXPECT_LE(ledger.at("spent").get<double>(), 20) << "kill " << kill;
    federation.Serve();
  }
  federation.Finish(clients);
  const nlohmann::json end = budget();
  EXPECT_EQ(end.at("rounds_left"), 0);
  EXPECT_EQ(end.at("releases").get<std::uint32_t>(), federation.LastRound());
  EXPECT_LE(end.at("spent").get<double>(), 20);
  EXPECT_GT(end.at("after_next_round").get<double>(), 20);
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
