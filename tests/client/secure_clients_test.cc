// A process's clients under secure aggregation: what they refuse, and what outlives them.
#include "client/secure_clients.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <variant>

#include "configs/secure.h"
#include "privacy/secagg/server_session.h"
#include "proto/secure_aggregation.pb.h"
#include "tests/server/small_run.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::client {
namespace {

using fedpeft::testing::TempFolder;
using privacy::SessionConfig;
using ::testing::HasSubstr;

constexpr std::size_t kValues = 100;
constexpr std::uint64_t kExamples = 20;

RunSpec SecureRun() {
  RunSpec run = server::testing::SmallRun(3, 5);
  run.schedule[0].cohort = 5;
  run.secure.on = true;
  run.schedule[0].reducer.max_weight = 1000;
  return run;
}

KeptUpdate UpdateOf(std::uint32_t round) {
  KeptUpdate update;
  update.round = round;
  update.base.fill(7);
  update.layout.fill(8);
  update.stats.loss = 0.25;
  const std::vector<float> values(kValues, 0.5F);
  const ByteSpan bytes = AsBytes(std::span<const float>(values));
  update.payload.assign(bytes.begin(), bytes.end());
  return update;
}

SessionConfig ConfigOf(std::uint32_t round, std::uint32_t attempt) {
  const KeptUpdate update = UpdateOf(round);
  SessionConfig config =
      SecureSumOf(SecureRun(), {"run", round, attempt, update.base, update.layout, kValues, 12})->config;
  config.nonce.fill(static_cast<std::uint8_t>(attempt));
  return config;
}

Bytes StepOf(const SessionConfig& config) {
  v1::SecureStep step;
  const Bytes bytes = config.Encode();
  step.set_config(bytes.data(), bytes.size());
  const std::string text = step.SerializeAsString();
  return {text.begin(), text.end()};
}

/// Five clients of one process, each with an update of round 1.
class SecureClientsTest : public ::testing::Test {
 protected:
  SecureClientsTest() {
    for (const std::string& id : ids_) EXPECT_TRUE(store_.Keep("run", id, UpdateOf(1)).ok());
  }
  SecureClients Make() { return SecureClients({SecureRun(), "run", {}, nullptr, {}, {}}, store_); }
  static TaskKey Key(const std::string& id, std::uint32_t attempt, std::uint32_t step = 4, std::uint32_t round = 1) {
    return {id, round, attempt, step};
  }
  /// What the first client says to a configuration that was changed.
  static Status Refusal(SecureClients& clients, std::uint32_t attempt,
                        const std::function<void(SessionConfig&)>& change) {
    SessionConfig config = ConfigOf(1, attempt);
    change(config);
    return clients.Handle(Key("a/0", attempt), StepOf(config), kExamples).status();
  }
  /// Plays a whole session; the number of clients whose shares were taken in.
  std::size_t PlaySession(SecureClients& clients, std::uint32_t attempt);

  TempFolder folder_;
  UpdateStore store_ = *UpdateStore::Open(folder_.path());
  const std::vector<std::string> ids_ = {"a/0", "a/1", "a/2", "a/3", "a/4"};
  std::function<void(const TaskKey&, const Bytes&)> before_step_ = [](const TaskKey&, const Bytes&) {};
  std::vector<Status> refusals_;
  std::optional<privacy::SecureMean> mean_;
};

std::size_t SecureClientsTest::PlaySession(SecureClients& clients, std::uint32_t attempt) {
  const KeptUpdate update = UpdateOf(1);
  privacy::MaskedSum sum(
      SecureSumOf(SecureRun(), {"run", 1, attempt, update.base, update.layout, kValues, 12})->layout);
  privacy::ServerSession session({.config = ConfigOf(1, attempt), .clients = ids_, .check = {}});
  std::deque<privacy::SecureAsk> asks;
  std::size_t finished = 0;
  const auto feed = [&](const privacy::SecureEvent& event) {
    for (auto& action : session.Handle(Instant{}, event)) {
      if (auto* ask = std::get_if<privacy::SecureAsk>(&action)) asks.push_back(*ask);
      if (auto* done = std::get_if<privacy::SecureFinished>(&action)) {
        finished = done->clients.size();
        sum.Unmask(done->masks, 1);
        mean_ = *sum.Finish(finished);
      }
    }
  };
  feed(privacy::SecureTick{});
  while (!asks.empty()) {
    const privacy::SecureAsk ask = asks.front();
    asks.pop_front();
    before_step_(Key(ask.client, attempt), ask.step.Joined());
    const auto reply = clients.Handle(Key(ask.client, attempt), ask.step.Joined(), kExamples);
    if (!reply.ok()) {
      refusals_.push_back(reply.status());
      feed(privacy::SecureDeparted{{ask.client}});
    } else if (reply->masked) {
      EXPECT_TRUE(sum.AddPiece(0, reply->bytes).ok());
      feed(privacy::SecureUploaded{ask.client});
    } else {
      feed(privacy::SecureAnswered{ask.client, reply->bytes});
    }
  }
  return finished;
}

TEST_F(SecureClientsTest, WeightsCountsAndValuesComeOutOfTheSum) {
  SecureClients clients = Make();
  EXPECT_EQ(PlaySession(clients, 1), 5u);
  ASSERT_TRUE(mean_.has_value());
  for (const float value : mean_->mean) EXPECT_NEAR(value, 0.5, 1e-3);
  EXPECT_EQ(mean_->counters[static_cast<std::size_t>(SecureCount::kWeight)], 5 * kExamples);
  EXPECT_EQ(mean_->counters[static_cast<std::size_t>(SecureCount::kExamples)], 5 * kExamples);
  EXPECT_EQ(mean_->counters[static_cast<std::size_t>(SecureCount::kLoss)], std::int64_t{5 * kExamples} << 18);
}

TEST_F(SecureClientsTest, A10_WhoHasUnmaskedJoinsNoOtherSumOfTheRound) {
  SecureClients clients = Make();
  EXPECT_EQ(PlaySession(clients, 1), 5u);
  EXPECT_EQ(PlaySession(clients, 2), 0u);
  ASSERT_EQ(refusals_.size(), 5u);
  EXPECT_THAT(refusals_[0].message(), HasSubstr("has unmasked a sum of round 1"));
  // Nor does the next process with the folder.
  SecureClients later = Make();
  EXPECT_EQ(PlaySession(later, 3), 0u);
}

TEST_F(SecureClientsTest, WhatCannotBeWrittenDownIsNotUnmasked) {
  for (const std::string& id : ids_) ASSERT_TRUE(MakeFolders(folder_.File("unmasked-" + FileNameOf(id))).ok());
  SecureClients clients = Make();
  EXPECT_EQ(PlaySession(clients, 1), 0u);
  EXPECT_EQ(refusals_.size(), 5u);
  EXPECT_FALSE(mean_.has_value());
}

TEST_F(SecureClientsTest, ASumThatIsNotTheRunsIsRefused) {
  const std::vector<std::function<void(SessionConfig&)>> lies = {
      [](SessionConfig& config) { config.run_id = "other"; },
      [](SessionConfig& config) { config.round = 2; },
      [](SessionConfig& config) { config.attempt += 100; },
      [](SessionConfig& config) { config.budget.bits = 32; },
      [](SessionConfig& config) { config.budget.max_weight = 1; },
      [](SessionConfig& config) { config.elements += 8; },
      [](SessionConfig& config) { config.payload.fill(9); },
      [](SessionConfig& config) { config.min_clients = 6; },
      [](SessionConfig& config) { config.max_corrupt = 0; },
      [](SessionConfig& config) { config.max_drop_out = 0.5; },
      [](SessionConfig& config) { config.threat = privacy::Threat::kCurious; }};
  SecureClients clients({SecureRun(), "run", {.semi_malicious = false}, nullptr, {}, {}}, store_);
  std::uint32_t attempt = 0;
  for (const auto& lie : lies) {
    const Status status = Refusal(clients, ++attempt, lie);
    EXPECT_EQ(status.code(), Code::kFailedPrecondition) << attempt;
    EXPECT_THAT(status.message(), HasSubstr("not the one that the run is about")) << attempt;
  }
  EXPECT_TRUE(Refusal(clients, ++attempt, [](SessionConfig&) {}).ok());
  EXPECT_EQ(Refusal(clients, ++attempt, [](SessionConfig& config) { config.model.fill(1); }).code(), Code::kNotFound);
}

TEST_F(SecureClientsTest, AnAttemptHasOneSessionAndANewerOneEndsIt) {
  SecureClients clients = Make();
  EXPECT_FALSE(Refusal(clients, 1, [](SessionConfig& config) { config.min_clients = 6; }).ok());
  EXPECT_THAT(Refusal(clients, 1, [](SessionConfig&) {}).message(), HasSubstr("session is over"));
  EXPECT_TRUE(Refusal(clients, 2, [](SessionConfig&) {}).ok());
  EXPECT_THAT(Refusal(clients, 1, [](SessionConfig&) {}).message(), HasSubstr("a newer one has replaced"));
}

TEST_F(SecureClientsTest, AStepThatComesAgainMasksNothingAgain) {
  SecureClients clients = Make();
  std::optional<Bytes> shares;
  before_step_ = [&](const TaskKey& key, const Bytes& step) {
    v1::SecureStep message;
    ASSERT_TRUE(message.ParseFromArray(step.data(), static_cast<int>(step.size())));
    if (key.client != "a/0") return;
    if (message.has_shares()) shares = step;
    // Under another number, as if it were another task.
    if (!message.has_survivors()) return;
    const auto again = clients.Handle({"a/0", 1, 1, 77}, *shares, kExamples);
    EXPECT_THAT(again.status().message(), HasSubstr("answer has been given"));
  };
  EXPECT_EQ(PlaySession(clients, 1), 5u) << "its vector is in the sum, and others have its shares";
  EXPECT_EQ(refusals_.size(), 1u);
}

TEST_F(SecureClientsTest, ClosedRoundsAreForgotten) {
  SecureClients clients = Make();
  EXPECT_TRUE(Refusal(clients, 1, [](SessionConfig&) {}).ok());
  clients.CloseRounds(1);
  EXPECT_THAT(Refusal(clients, 1, [](SessionConfig&) {}).message(), HasSubstr("session is over"));
}

TEST_F(SecureClientsTest, ThePolicyIsHeldAgainstEachSession) {
  SecureClients clients({SecureRun(), "run", {.min_clients = 6}, nullptr, {}, {}}, store_);
  EXPECT_THAT(Refusal(clients, 1, [](SessionConfig&) {}).message(), HasSubstr("as few as 5 clients"));
}

}  // namespace
}  // namespace fedpeft::client
