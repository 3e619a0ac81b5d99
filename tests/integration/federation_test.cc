// Whole federations, and what their results must equal.
#include <gtest/gtest.h>

#include <cmath>

#include "peft/io/safetensors.h"
#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using Clients = std::vector<std::unique_ptr<Process>>;
using nlohmann::json;

/// The largest difference between two adapters' values; infinite when their tensors are not the same ones.
double MaxDifference(const std::string& a, const std::string& b) {
  constexpr std::uint64_t kMaxBytes = 1 << 24;
  const auto left = SafetensorsFile::Read(a + "/adapter_model.safetensors", kMaxBytes);
  const auto right = SafetensorsFile::Read(b + "/adapter_model.safetensors", kMaxBytes);
  if (!left.ok() || !right.ok() || left->tensors().size() != right->tensors().size()) return INFINITY;
  double largest = 0;
  for (const auto& [name, tensor] : left->tensors()) {
    const auto other = right->tensors().find(name);
    if (other == right->tensors().end() || other->second.shape != tensor.shape) return INFINITY;
    std::vector<float> x(tensor.data.size() / sizeof(float)), y(x.size());
    if (!CopyFloats(tensor, x).ok() || !CopyFloats(other->second, y).ok()) return INFINITY;
    for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(double{x[i]} - double{y[i]}));
  }
  return largest;
}

/// The last round's adapter.
std::string Exported(Federation& federation) {
  const std::string out = federation.File("exported");
  federation.Server({"export", "--state", federation.state(), "--round", std::to_string(federation.LastRound()), out});
  return out;
}

/// What training with the run's settings in one place makes of `data`.
std::string TrainedCentrally(Federation& federation, const std::string& data, const Arguments& more = {}) {
  std::string out = federation.File("centralised" + std::to_string(more.size()));
  Arguments train = {"train", federation.run(), "--base", federation.base(), "--data", data, "--eval-data", data,
                     out,     "--threads",      "1"};
  train.insert(train.end(), more.begin(), more.end());
  federation.Client(train);
  return out;
}

TEST(FederationTest, LearnsAndAllReportsAgree) {
  Federation federation({.rounds = 12, .clients = 3, .evaluation = "{every: 1, min_evaluators: 1}"});
  federation.Serve();
  Clients clients;
  clients.push_back(federation.Join("eve", federation.Data(10'000, 300), {"--role", "evaluator"}));
  for (const int i : {1, 2, 3}) {
    clients.push_back(federation.Join("site-" + std::to_string(i), federation.Data(1000 * i, 60)));
  }
  // Beside the running coordinator.
  ASSERT_TRUE(federation.WaitForRound(2));
  json early = json::parse(federation.Server({"rounds", "--state", federation.state(), "--json"}));
  ASSERT_GE(early.size(), 3);
  early.erase(early.begin() + 3, early.end());  // a later one may be committed and not yet evaluated
  federation.Finish(clients);

  const std::vector<json> rounds = federation.Rounds();
  ASSERT_EQ(rounds.size(), 13);  // the start, and one line a round
  for (std::uint32_t i = 0; i < rounds.size(); ++i) {
    EXPECT_EQ(rounds[i]["round"], i);
    EXPECT_EQ(rounds[i]["participants"], i == 0 ? 0 : 3);
    EXPECT_EQ(rounds[i]["eval_examples"], 300);
  }
  EXPECT_EQ(json(std::vector<json>(rounds.begin(), rounds.begin() + static_cast<std::ptrdiff_t>(early.size()))), early);
  // Three classes of which every text names its own: by guessing a third is right.
  EXPECT_GT(rounds.back()["eval_accuracy"], 0.8);
  EXPECT_GT(rounds.back()["eval_accuracy"], rounds.front()["eval_accuracy"].get<double>() + 0.2);

  // Of the stopped one.
  EXPECT_EQ(json::parse(federation.Server({"rounds", "--state", federation.state(), "--json"})), json(rounds));
  const json show = json::parse(federation.Server({"show", "--state", federation.state(), "--json"}));
  EXPECT_EQ(show["last"], rounds.back());
  EXPECT_EQ(show["clients"].size(), 4);

  const json scored =
      json::parse(federation.Client({"evaluate", "--base", federation.base(), "--adapter", Exported(federation),
                                     "--data", federation.Data(10'000, 300), "--json"}));
  EXPECT_EQ(scored["examples"], 300);
  EXPECT_EQ(scored["accuracy"], rounds.back()["eval_accuracy"]);
}

TEST(FederationTest, LearningRateZeroChangesNoBit) {
  Federation federation({.train = "{optimizer: adamw, learning_rate: 0, batch_size: 8}"});
  federation.Serve();
  Clients clients;
  clients.push_back(federation.Join("a", federation.Data(0, 40)));
  clients.push_back(federation.Join("b", federation.Data(100, 25)));
  federation.Finish(clients);
  const std::vector<std::string> hashes = federation.Hashes();
  ASSERT_EQ(hashes.size(), 4);
  for (const std::string& hash : hashes) EXPECT_EQ(hash, hashes.front());
  // The centralised program makes the initial values by itself.
  EXPECT_EQ(MaxDifference(Exported(federation), TrainedCentrally(federation, federation.Data(0, 40))), 0);
}

TEST(FederationTest, OneClientEqualsLocalTraining) {
  // SGD without momentum has no state that a round could forget; the client's name names its random streams.
  Federation federation({.clients = 1,
                         .train = "{optimizer: sgd, learning_rate: 0.2, batch_size: 8, epochs: 2, "
                                  "schedule: {kind: linear, final_factor: 0.1}}"});
  federation.Serve();
  const std::string data = federation.Data(0, 60);
  Clients clients;
  clients.push_back(federation.Join("centralised", data));
  federation.Finish(clients);
  const std::string local = TrainedCentrally(federation, data);
  // The coordinator's grid is finer than 1e-8.
  EXPECT_LT(MaxDifference(Exported(federation), local), 1e-6);
  EXPECT_GT(MaxDifference(TrainedCentrally(federation, data, {"--set", "train.learning_rate=0"}), local), 1e-2);
}

TEST(FederationTest, FullBatchStepsOverClientsEqualCentralisedSteps) {
  const Settings settings = {.clients = 4, .train = "{optimizer: sgd, learning_rate: 0.5, batch_size: 1000}"};
  Federation apart(settings);
  apart.Serve();
  Clients clients;
  clients.push_back(apart.Join("a", apart.Data(0, 10)));
  clients.push_back(apart.Join("b", apart.Data(10, 20)));
  clients.push_back(apart.Join("c", apart.Data(30, 30)));
  clients.push_back(apart.Join("d", apart.Data(60, 40)));
  apart.Finish(clients);

  Federation simulated(settings);
  simulated.Serve();
  clients.clear();
  clients.push_back(simulated.Join("sim", simulated.Data(0, 100), {"--virtual-clients", "8"}));
  simulated.Finish(clients);
  EXPECT_EQ(simulated.Rounds().back()["participants"], 8);

  const std::string central = TrainedCentrally(apart, apart.Data(0, 100));
  // Float32 sums of a hundred gradients in another order, three times.
  EXPECT_LT(MaxDifference(Exported(apart), central), 1e-6);
  EXPECT_LT(MaxDifference(Exported(simulated), central), 1e-6);
  EXPECT_GT(MaxDifference(TrainedCentrally(apart, apart.Data(0, 100), {"--set", "train.learning_rate=0"}), central),
            1e-3);
}

TEST(FederationTest, OrderOfArrivalDoesNotMatter) {
  const auto run = [](const std::vector<std::string>& order) {
    Federation federation({.clients = 3});
    federation.Serve();
    Clients clients;
    for (const std::string& name : order) {
      const std::uint64_t first = static_cast<std::uint64_t>(name.front() - 'a') * 100;
      clients.push_back(federation.Join(name, federation.Data(first, 20 + first / 5)));
    }
    federation.Finish(clients);
    return federation.Hashes();
  };
  const std::vector<std::string> hashes = run({"a", "b", "c"});
  EXPECT_EQ(hashes.size(), 4);
  EXPECT_NE(hashes.front(), hashes.back());
  EXPECT_EQ(run({"c", "b", "a"}), hashes);
}

}  // namespace
}  // namespace fedpeft::testing
