// Runs in which clients make the noise, as processes: what is in whose ledger, and who stops whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "peft/core/files.h"
#include "peft/core/random.h"
#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using Clients = std::vector<std::unique_ptr<Process>>;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

json ClientLedger(Federation& federation, const std::string& state) {
  return json::parse(federation.Client({"budget", "--state", state, "--json"}));
}

TEST(PrivacyTest, ClientsMakeTheNoiseUnderMasks) {
  Federation federation({.rounds = 3,
                         .clients = 5,
                         .secure = "{mode: pairwise, max_corrupt: 0, max_drop_out: 0.2}",
                         .privacy = "{mechanism: distributed, accountant: rdp, population: 8, budget: {epsilon: 8, "
                                    "delta: 1e-3}}",
                         .reducer = "{weights: uniform}",
                         .cohort = 8});
  federation.Serve();
  Clients clients;
  for (const int i : {0, 1}) {
    clients.push_back(federation.Join("p-" + std::to_string(i), federation.Data(1000 * i, 80),
                                      {"--virtual-clients", "4", "--state", federation.File(std::to_string(i))}));
  }
  federation.Finish(clients);
  const json budget = json::parse(federation.Server({"budget", "--state", federation.state(), "--json"}));
  EXPECT_EQ(budget["releases"], 3);
  EXPECT_LE(budget["spent"], 8);
  EXPECT_GT(budget["spent"], 7.9);
  const json last = federation.Rounds().back();
  EXPECT_EQ(last["participants"], 8);
  EXPECT_EQ(last["examples"], 0);
  EXPECT_TRUE(last["train_loss"].is_null());
}

TEST(PrivacyTest, E8AClientsLedgerSurvivesKills) {
  constexpr std::uint32_t kRounds = 12;
  constexpr int kKills = 5;
  Federation federation({.rounds = kRounds,
                         .clients = 1,
                         .privacy = "{mechanism: local, noise_multiplier: 0.5, budget: {epsilon: 1000}}",
                         .reducer = "{weights: uniform}"});
  federation.Serve();
  const std::string state = federation.File("state-1"), data = federation.Data(0, 40);
  Clients clients;
  clients.push_back(federation.Join("site", data, {"--state", state}));
  RandomStream random(5, "kills");
  for (int kill = 1; kill <= kKills; ++kill) {
    ASSERT_TRUE(federation.WaitForRound(federation.LastRound() + 1));
    std::this_thread::sleep_for(std::chrono::milliseconds(random.NextBelow(40)));
    clients[0]->Kill();
    EXPECT_GE(ClientLedger(federation, state)["site"]["trainings"], federation.LastRound()) << "kill " << kill;
    clients[0] = federation.Join("site", data, {"--state", state});
  }
  federation.Finish(clients);
  const json ledger = ClientLedger(federation, state)["site"];
  EXPECT_GE(ledger["trainings"], kRounds);
  EXPECT_LE(ledger["trainings"], kRounds + kKills) << "one a kill may have been trained and never sent";
  EXPECT_EQ(federation.Rounds().back()["examples"], 0);
}

TEST(PrivacyTest, APolicyStopsWhatWouldCostAClientTooMuch) {
  Federation federation({.rounds = 4,
                         .clients = 1,
                         .limits = "{max_attempts: 2}",
                         .privacy = "{mechanism: example_level, noise_multiplier: 1, budget: {epsilon: 1000}, clip: "
                                    "{norm: 1}}",
                         .reducer = "{weights: uniform}"});
  federation.Serve();
  const std::string state = federation.File("state-1"), policy = federation.File("policy.yaml");
  ASSERT_TRUE(
      WriteFileAtomically(policy, AsBytes(std::string_view("require_secure_aggregation: false\nmax_epsilon: 4.5\n")))
          .ok());
  const std::string data = federation.Data(0, 80);
  const auto forgetful = federation.Join("site", data, {"--policy", policy});
  EXPECT_NE(forgetful->Wait(), 0);
  EXPECT_THAT(forgetful->errors(),
              HasSubstr("--state: is missing, want a folder: this client's policy has max_epsilon"));
  const auto client = federation.Join("site", data, {"--state", state, "--policy", policy});
  EXPECT_NE(client->Wait(), 0) << "the run fails without it";
  EXPECT_THAT(client->errors(), HasSubstr("of its policy's 4.5"));
  EXPECT_THAT(client->errors(), Not(HasSubstr("ledger.not_kept")));
  const json ledger = ClientLedger(federation, state)["site"];
  EXPECT_EQ(ledger["trainings"], 2);
  EXPECT_LE(ledger["epsilon"], 4.5);
}

}  // namespace
}  // namespace fedpeft::testing
