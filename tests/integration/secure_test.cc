// A hundred clients in processes under secure aggregation, over TLS; processes are killed at each of its steps.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "client/base.h"
#include "client/compute.h"
#include "client/dataset.h"
#include "client/local_runner.h"
#include "client/partition.h"
#include "configs/loader.h"
#include "configs/secure.h"
#include "server/checkpoint.h"
#include "server/global_model.h"
#include "server/secure_round.h"
#include "server/state_reader.h"
#include "server/store.h"
#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

constexpr std::size_t kProcesses = 20, kEach = 5, kVictims = 4;
/// Rows of a process.
constexpr std::uint64_t kRows = 20;

Settings SecureSettings() {
  Settings settings;
  settings.rounds = 1'000'000;
  settings.clients = 80;
  settings.limits = "{client_timeout_s: 2, keep_rounds: 1000000, max_clients: 100, max_attempts: 1000}";
  settings.secure = "{mode: pairwise, bits: 32, max_corrupt: 0.1, max_drop_out: 0.2}";
  settings.log_level = "debug";
  return settings;
}

/// What the clients' updates are, computed again from the parameters that each round began with.
class Recomputation {
 public:
  explicit Recomputation(Federation& federation) : state_(federation.state()) {
    run_ = *TranslateRun(configs::LoadRun(federation.run())->config);
    const client::BaseInfo base = *client::OpenBase(federation.base());
    client::UseThreads(1);
    const auto model = *client::LoadRunBase(base, run_);
    for (std::size_t i = 0; i < kProcesses; ++i) {
      const client::Table table = *client::ReadRunTable(federation.Data(i * kRows, kRows), run_.problem);
      auto dealt = client::DealExamples(run_, base.tokenizer, {table, std::nullopt}, *client::ParsePartition("iid"),
                                        kEach, *client::ParseClientRange("", kEach));
      runners_.push_back(*client::LocalRunner::Make(run_, model, std::move(dealt->data)));
    }
  }

  /// The largest difference between the round's step and the mean of its participants' updates, in steps of the grid.
  double LargestError(const server::RoundRecord& before, const server::RoundRecord& round) const {
    const double range = before.secure ? before.secure->next_range : run_.secure.range;
    const std::int64_t level = *privacy::LargestLevel(*RingBudgetOf(run_, run_.schedule[0]));
    const double step = std::ldexp(1.0, -privacy::ScaleExponent(level, range));
    const double limit = static_cast<double>(level) * step;
    const ParamVector start = ParamsOf(before.round), end = ParamsOf(round.round);
    server::GlobalModel model = *server::GlobalModel::Make(run_);
    const Bytes broadcast = model.Encode({start.Clone(), {}});
    std::vector<double> sum(start.values().size());
    double weights = 0;
    const auto submissions = *server::StateReader::Open(state_)->Submissions(round.round);
    EXPECT_EQ(submissions.size(), round.participants);
    for (const server::Submission& one : submissions) {
      const auto [weight, update] = UpdateOf(one.client, round.round, broadcast);
      weights += weight;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * std::clamp<double>(update[i], -limit, limit);
    }
    double largest = 0;
    for (std::size_t i = 0; i < sum.size(); ++i) {
      const double moved = double{end.values()[i]} - double{start.values()[i]};
      largest = std::max(largest, std::abs(moved - sum[i] / weights));
    }
    return largest / step;
  }

 private:
  ParamVector ParamsOf(std::uint32_t round) const {
    auto checkpoint =
        server::ReadCheckpoint(JoinPath(state_, server::Store::ParamsFile(round)), *PlanLayout(run_.plan));
    FEDPEFT_CHECK(checkpoint.ok());
    return std::move(checkpoint->params);
  }
  /// `p-I/J` is client J of process I.
  std::pair<double, std::vector<float>> UpdateOf(const std::string& client, std::uint32_t round,
                                                 const Bytes& broadcast) const {
    const std::size_t slash = client.find('/');
    client::LocalRunner& runner = *runners_.at(std::stoul(client.substr(2, slash - 2)));
    const std::size_t index = std::stoul(client.substr(slash + 1));
    const std::atomic<bool> stop = false;
    const auto update = *runner.Train(index, client, round, {broadcast, {}}, stop, [](const auto&) {});
    std::vector<float> values(update.payload.size() / sizeof(float));
    std::memcpy(values.data(), update.payload.data(), update.payload.size());
    return {static_cast<double>(*WeightOf(run_.schedule[0].reducer, runner.examples(index))), std::move(values)};
  }

  const std::string state_;
  RunSpec run_;
  std::vector<std::unique_ptr<client::LocalRunner>> runners_;
};

/// Twenty processes with five clients each.
class Crowd {
 public:
  Crowd(Federation& federation, Arguments tls) : federation_(federation), tls_(std::move(tls)) {
    for (std::size_t i = 0; i < kProcesses; ++i) processes_.push_back(Start(i));
  }

  std::unique_ptr<Process> Start(std::size_t i) {
    const std::string name = "p-" + std::to_string(i);
    Arguments more = tls_;
    more.insert(more.end(), {"--virtual-clients", std::to_string(kEach), "--state", federation_.File(name)});
    return federation_.Join(name, federation_.Data(i * kRows, kRows), more);
  }
  /// Kills these as soon as the first of them has got so far.
  void KillAt(const std::vector<std::size_t>& victims, const std::string& mark) {
    std::map<std::size_t, std::size_t> seen;
    for (const std::size_t i : victims) seen[i] = processes_[i]->errors().size();
    ASSERT_TRUE(Eventually([&] {
      return std::ranges::any_of(
          victims, [&](std::size_t i) { return processes_[i]->errors().find(mark, seen[i]) != std::string::npos; });
    })) << mark;
    for (const std::size_t i : victims) processes_[i]->Kill();
  }
  void Restart(const std::vector<std::size_t>& victims) {
    for (const std::size_t i : victims) processes_[i] = Start(i);
    for (const std::size_t i : victims) {
      ASSERT_TRUE(Eventually([&] { return processes_[i]->errors().find("task.trained") != std::string::npos; }))
          << processes_[i]->errors();
    }
  }

 private:
  Federation& federation_;
  const Arguments tls_;
  std::vector<std::unique_ptr<Process>> processes_;
};

std::vector<std::size_t> Victims(std::size_t first, std::size_t count = kVictims) {
  std::vector<std::size_t> victims;
  for (std::size_t i = 0; i < count; ++i) victims.push_back((first + i) % kProcesses);
  return victims;
}

std::vector<server::AttemptRecord> AttemptsOf(const Federation& federation) {
  return *server::StateReader::Open(federation.state())->Attempts();
}

/// Serves over TLS, as a hundred clients join.
class SecureFederationTest : public ::testing::Test {
 protected:
  SecureFederationTest() {
    const std::string certs = federation_.File("certs");
    RunToEnd({"/usr/bin/env", "bash", FEDPEFT_SOURCE_DIR "/scripts/make_certs.sh", certs},
             federation_.File("certs-log"));
    federation_.Serve({"--tls-cert", certs + "/server.crt", "--tls-key", certs + "/server.key"});
    crowd_.emplace(federation_, Arguments{"--tls-ca", certs + "/ca.crt"});
    everybody_ = Eventually([this] { return LastParticipants() == kProcesses * kEach; });
  }
  std::size_t LastParticipants() const {
    const auto rounds = federation_.Rounds();
    return rounds.empty() ? 0 : rounds.back().at("participants").get<std::size_t>();
  }
  Federation federation_{SecureSettings()};
  std::optional<Crowd> crowd_;
  bool everybody_ = false;
};

TEST_F(SecureFederationTest, KillsAtEachStepChangeNoSum) {
  ASSERT_TRUE(everybody_);
  // Once it has trained, and then as the victims are asked for keys, shares, vectors, signatures and others' secrets.
  std::size_t first = 0;
  for (const char* mark : {"task.trained", "step=4", "step=5", "step=6", "step=7", "step=8"}) {
    const std::vector<std::size_t> victims = Victims(first += kVictims);
    crowd_->KillAt(victims, mark);
    ASSERT_TRUE(federation_.WaitForRound(federation_.LastRound() + 2)) << mark << federation_.server().errors();
    crowd_->Restart(victims);
  }
  ASSERT_TRUE(Eventually([this] { return LastParticipants() == kProcesses * kEach; }));
  federation_.server().Signal(SIGTERM);
  EXPECT_EQ(federation_.server().Wait(), 0);
  for (const server::AttemptRecord& attempt : AttemptsOf(federation_)) {
    EXPECT_TRUE(attempt.status == "committed" || attempt.status == "open") << attempt.round << ": " << attempt.reason;
  }
  const Recomputation recomputation(federation_);
  const auto rounds = *server::StateReader::Open(federation_.state())->Rounds();
  ASSERT_GT(rounds.size(), 12u);
  for (std::size_t i = 1; i < rounds.size(); ++i) {
    EXPECT_GE(rounds[i].participants, 80u);
    // Each client's values are rounded by less than a step, up as often as down.
    EXPECT_LT(recomputation.LargestError(rounds[i - 1], rounds[i]), 1) << "round " << rounds[i].round;
  }
}

TEST_F(SecureFederationTest, MoreLossesThanTheThresholdCostARoundAndTheNextOneWorks) {
  ASSERT_TRUE(everybody_);
  const std::vector<std::size_t> victims = Victims(0, kProcesses / 2);
  for (const char* mark : {"step=6", "step=8"}) {
    const std::uint32_t before = federation_.LastRound();
    crowd_->KillAt(victims, mark);
    crowd_->Restart(victims);
    ASSERT_TRUE(
        Eventually([&] { return federation_.LastRound() > before + 1 && LastParticipants() == kProcesses * kEach; }));
  }
  federation_.server().Kill();
  const auto attempts = AttemptsOf(federation_);
  EXPECT_TRUE(
      std::ranges::any_of(attempts, [](const auto& one) { return one.status == "lost" || one.status == "void"; }));
  // The state folder is sound: another coordinator goes on from it.
  const std::vector<std::string> committed = federation_.Hashes();
  federation_.Serve({"--tls-cert", federation_.File("certs") + "/server.crt", "--tls-key",
                     federation_.File("certs") + "/server.key"});
  ASSERT_TRUE(federation_.WaitForRound(static_cast<std::uint32_t>(committed.size()) + 1));
  std::vector<std::string> kept = federation_.Hashes();
  kept.resize(committed.size());
  EXPECT_EQ(kept, committed);
  federation_.server().Signal(SIGTERM);
  EXPECT_EQ(federation_.server().Wait(), 0);
}

}  // namespace
}  // namespace fedpeft::testing
