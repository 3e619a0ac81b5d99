// What a run shares, what it leaves with its clients, and what therefore is on the wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/core/files.h"
#include "tests/integration/federation.h"
#include "tests/integration/proxy.h"

namespace fedpeft::testing {
namespace {

using Clients = std::vector<std::unique_ptr<Process>>;
using nlohmann::json;
using ::testing::HasSubstr;

double AccuracyOf(Federation& federation, const std::string& adapter, const std::string& data) {
  const std::string said = federation.Client(
      {"evaluate", "--base", federation.base(), "--adapter", adapter, "--data", data, "--json", "--threads", "1"});
  return json::parse(said)["accuracy"];
}

TEST(ViewsTest, PersonalHeadsStayWithTheirClientsAlsoAfterAKill) {
  Federation federation(
      {.rounds = 10,
       .clients = 2,
       .peft = "{method: lora, head: local, lora: {rank: 4, alpha: 8, target_modules: [query, value]}}",
       .train = "{optimizer: adamw, learning_rate: 0.01, batch_size: 8, epochs: 2}",
       .evaluation = "{every: 1, min_evaluators: 2}"});
  federation.Serve();
  const std::string test = federation.Data(10'000, 200);
  const auto join = [&](int i) {
    return federation.Join("site-" + std::to_string(i), federation.Data(1000 * i, 60),
                           {"--eval-data", test, "--state", federation.File("state-" + std::to_string(i))});
  };
  const auto evaluator = federation.Join("eve", test, {"--role", "evaluator"});
  EXPECT_NE(evaluator->Wait(), 0);
  EXPECT_THAT(evaluator->errors(), HasSubstr("join with training data and --eval-data"));
  Clients clients;
  for (const int i : {1, 2}) clients.push_back(join(i));
  ASSERT_TRUE(federation.WaitForRound(3));
  clients[0]->Kill();
  clients[0] = join(1);
  federation.Finish(clients);

  const std::vector<json> rounds = federation.Rounds();
  EXPECT_EQ(rounds.back()["evaluators"], 2);
  EXPECT_EQ(rounds.back()["eval_examples"], 400);
  EXPECT_GT(rounds.back()["eval_accuracy"], 0.8);

  const std::string shared = federation.File("shared"), own = federation.File("own");
  federation.Server({"export", "--state", federation.state(), "--round", "10", shared});
  federation.Client(
      {"personalise", "--base", federation.base(), "--adapter", shared, "--state", federation.File("state-1"), own});
  // The shared one has the head that nobody trained.
  const double with_own = AccuracyOf(federation, own, test);
  EXPECT_GT(with_own, 0.8);
  EXPECT_GT(with_own, AccuracyOf(federation, shared, test));
}

/// Bytes of a run's parameters both ways, as the client's connection carries them, over those of the views.
struct Wire {
  double up = 0, down = 0;
};

Wire Measure(const Settings& settings) {
  Federation federation(settings);
  federation.Serve();
  const std::string address = federation.address();
  const CountingProxy proxy(std::stoi(address.substr(address.rfind(':') + 1)));
  federation.JoinThrough(proxy.port());
  Clients clients;
  clients.push_back(federation.Join("site", federation.Data(0, 8)));
  federation.Finish(clients);
  std::uint64_t up = 0, down = 0;
  for (const json& round : federation.Rounds()) {
    up += round["bytes_up"].get<std::uint64_t>();
    down += round["bytes_down"].get<std::uint64_t>();
  }
  return {static_cast<double>(proxy.up()) / static_cast<double>(up),
          static_cast<double>(proxy.down()) / static_cast<double>(down)};
}

TEST(ViewsTest, TheWireCarriesTheViewAndLittleElse) {
  Settings settings{
      .rounds = 6, .clients = 1, .peft = "{method: lora, lora: {rank: 32, alpha: 8, target_modules: [all-linear]}}"};
  const auto check = [&](const std::string& what) {
    const Wire wire = Measure(settings);
    EXPECT_GT(wire.up, 1) << what;
    EXPECT_LT(wire.up, 1.02) << what;
    EXPECT_GT(wire.down, 1) << what;
    EXPECT_LT(wire.down, 1.02) << what;
  };
  for (const char* views : {"[]", "[{frozen: [lora_a]}]", "[{local: [lora_b]}]"}) {
    settings.views = views;
    check(views);
  }
  settings.views = "[]";
  settings.peft = "{method: adalora, adalora: {initial_rank: 32, target_rank: 16, target_modules: [all-linear]}}";
  check("adalora");
}

TEST(ViewsTest, RanksFallAndAKilledClientGoesOnWithThem) {
  Federation federation(
      {.rounds = 8,
       .clients = 2,
       .peft = "{method: adalora, adalora: {initial_rank: 6, target_rank: 2, target_modules: [query, value]}}",
       .train = "{optimizer: adamw, learning_rate: 0.01, batch_size: 8, epochs: 2}",
       .evaluation = "{every: 1, min_evaluators: 1}"});
  federation.Serve();
  const std::string test = federation.Data(10'000, 200);
  const auto join = [&](int i) {
    return federation.Join("site-" + std::to_string(i), federation.Data(1000 * i, 60),
                           {"--state", federation.File("state-" + std::to_string(i))});
  };
  Clients clients;
  clients.push_back(federation.Join("eve", test, {"--role", "evaluator"}));
  for (const int i : {1, 2}) clients.push_back(join(i));
  ASSERT_TRUE(federation.WaitForRound(3));
  clients[1]->Kill();
  clients[1] = join(1);
  federation.Finish(clients);
  const std::vector<json> rounds = federation.Rounds();
  EXPECT_GT(rounds.back()["eval_accuracy"], 0.8);
  for (std::size_t i = 2; i < rounds.size(); ++i) {
    EXPECT_LE(rounds[i]["bytes_up"], rounds[i - 1]["bytes_up"]) << i;
  }
  EXPECT_LT(rounds.back()["bytes_up"].get<double>(), 0.6 * rounds[1]["bytes_up"].get<double>());
}

}  // namespace
}  // namespace fedpeft::testing
