#include "server/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/limits.h"

namespace fedpeft::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Digest Filled(std::uint8_t value) {
  Digest digest;
  digest.fill(value);
  return digest;
}

RunInfo SomeRun() {
  RunInfo run;
  run.run_id = "run-1";
  run.base_name = "MiniLM";
  run.weights = Filled(1);
  run.tokenizer = Filled(2);
  run.layout = Filled(3);
  run.max_clients = 8;
  run.client_timeout_s = 15;
  return run;
}

JoinClaim GoodClaim(std::size_t clients = 1) {
  JoinClaim claim;
  claim.protocol_version = kProtocolVersion;
  claim.run_id = "run-1";
  claim.name = "alice";
  claim.weights = Filled(1);
  claim.tokenizer = Filled(2);
  claim.layout = Filled(3);
  claim.examples.assign(clients, 100);
  return claim;
}

Task Train(const std::string& client, std::uint32_t round) {
  return {.key = {.client_id = client, .round = round, .attempt = 0, .step = kTrainStep}, .body = TrainTask{}};
}
Task Closed(const std::string& client, std::uint32_t round) {
  return {.key = {.client_id = client, .round = round, .attempt = 0, .step = kClosedStep},
          .body = RoundClosed{.committed_round = round}};
}

/// A registry, a clock by hand, and what its effects said.
class SessionTest : public ::testing::Test {
 protected:
  SessionId Join(const std::string& name, std::size_t clients = 1) {
    SessionRegistry::Effects effects;
    auto joined = registry_.Join(name, GoodClaim(clients), now_, effects);
    Run(effects);
    FEDPEFT_CHECK(joined.ok());
    token_ = joined->token;
    return joined->session;
  }
  SessionRegistry::PollRef Poll(SessionId session, const std::vector<TaskKey>& received = {}) {
    SessionRegistry::Effects effects;
    const auto answer = [this](auto outcome) { outcomes_.push_back(std::move(outcome)); };
    auto ref = registry_.Poll(session, received, answer, now_, effects);
    Run(effects);
    FEDPEFT_CHECK(ref.ok());
    return *ref;
  }
  void Send(SessionId session, Task task) {
    SessionRegistry::Effects effects;
    registry_.Send(session, std::move(task), now_, effects);
    Run(effects);
  }
  void Pass(double seconds) {
    now_ += Seconds(seconds);
    SessionRegistry::Effects effects;
    registry_.Tick(now_, effects);
    Run(effects);
  }
  void Run(SessionRegistry::Effects& effects) {
    for (auto& poll : effects.polls) poll.answer(std::move(poll.outcome));
    for (Event& event : effects.events) events_.push_back(std::move(event));
  }
  std::vector<TaskKey> LastKeys() const {
    std::vector<TaskKey> keys;
    for (const Task& task : *outcomes_.back()) keys.push_back(task.key);
    return keys;
  }

  RunInfo run_ = SomeRun();
  SessionRegistry registry_{run_};
  Instant now_{};
  std::string token_;
  std::vector<Result<std::vector<Task>>> outcomes_;
  std::vector<Event> events_;
};

TEST(CheckJoinTest, TakesTheNameOrTheCertificates) {
  const RunInfo run = SomeRun();
  EXPECT_EQ(*CheckJoin(run, GoodClaim(), std::nullopt), "alice");
  EXPECT_EQ(*CheckJoin(run, GoodClaim(), "alice"), "alice");
  JoinClaim unnamed = GoodClaim();
  unnamed.name.clear();
  EXPECT_EQ(*CheckJoin(run, unnamed, "bob"), "bob");
  EXPECT_EQ(CheckJoin(run, unnamed, std::nullopt).status().code(), Code::kInvalidArgument);
  EXPECT_EQ(CheckJoin(run, GoodClaim(), "bob").status().code(), Code::kPermissionDenied);
  EXPECT_EQ(CheckJoin(run, unnamed, "").status().code(), Code::kInvalidArgument) << "a certificate without a name";
}

TEST(CheckJoinTest, NamesBothValuesOfWhatDiffers) {
  struct Case {
    std::function<void(JoinClaim&)> change;
    std::string got;
    std::string want;
  };
  const Case cases[] = {
      {[](JoinClaim& c) { c.protocol_version = 77; }, "77", std::to_string(kProtocolVersion)},
      {[](JoinClaim& c) { c.run_id = "run-2"; }, "run-2", "run-1"},
      {[](JoinClaim& c) { c.weights = Filled(9); }, Hex(Filled(9)), Hex(Filled(1))},
      {[](JoinClaim& c) { c.tokenizer = Filled(9); }, Hex(Filled(9)), Hex(Filled(2))},
      {[](JoinClaim& c) { c.layout = Filled(9); }, Hex(Filled(9)), Hex(Filled(3))},
  };
  for (const Case& test : cases) {
    JoinClaim claim = GoodClaim();
    test.change(claim);
    const Status status = CheckJoin(SomeRun(), claim, std::nullopt).status();
    EXPECT_EQ(status.code(), Code::kFailedPrecondition);
    EXPECT_THAT(status.message(), HasSubstr(test.got));
    EXPECT_THAT(status.message(), HasSubstr(test.want));
  }
}

TEST(CheckJoinTest, RefusesNamesAndNumbersOutOfBounds) {
  for (const std::string& name : {std::string("a/b"), std::string("a b"), std::string(kMaxNameBytes + 1, 'a'),
                                  std::string("na\0me", 5), std::string("\xc3\xa9")}) {
    EXPECT_EQ(CheckName(name).code(), Code::kInvalidArgument) << name;
  }
  EXPECT_TRUE(CheckName(std::string(kMaxNameBytes, 'a')).ok());
  EXPECT_TRUE(CheckName("box-7_b.site").ok());
  JoinClaim absurd = GoodClaim(2);
  absurd.examples[1] = std::uint64_t{1} << 63;
  EXPECT_EQ(CheckJoin(SomeRun(), absurd, std::nullopt).status().code(), Code::kInvalidArgument);
}

TEST(CheckJoinTest, NobodyTellsMetricsBesideASum) {
  RunInfo run = SomeRun();
  run.trainers_evaluate = false;
  JoinClaim claim = GoodClaim();
  claim.examples = {0};
  claim.held_out = {0};
  EXPECT_TRUE(CheckJoin(run, claim, std::nullopt).ok());
  claim.held_out = {7};
  EXPECT_THAT(CheckJoin(run, claim, std::nullopt).status().message(), HasSubstr("tell no metrics of their own"));
}

TEST(CheckJoinTest, WhoTrainsNothingCannotEvaluateWhatClientsKeep) {
  RunInfo run = SomeRun();
  JoinClaim claim = GoodClaim();
  claim.evaluator = true;
  EXPECT_TRUE(CheckJoin(run, claim, std::nullopt).ok());
  run.personal = true;
  EXPECT_THAT(CheckJoin(run, claim, std::nullopt).status().message(), HasSubstr("--eval-data"));
  claim.evaluator = false;
  claim.held_out = {7};
  EXPECT_TRUE(CheckJoin(run, claim, std::nullopt).ok());
  claim.held_out = {std::uint64_t{1} << 63};
  EXPECT_THAT(CheckJoin(run, claim, std::nullopt).status().message(), HasSubstr("held_out"));
}

TEST_F(SessionTest, JoinAnnouncesVirtualClientsAndOwnsThemAlone) {
  const SessionId session = Join("alice", 3);
  ASSERT_THAT(events_, SizeIs(1));
  const auto& joined = std::get<ClientsJoined>(events_[0]);
  ASSERT_THAT(joined.clients, SizeIs(3));
  EXPECT_EQ(joined.clients[2].id, "alice/2");
  EXPECT_EQ(joined.clients[2].examples, 100u);
  EXPECT_TRUE(registry_.Owns(session, "alice/0"));
  for (const char* other : {"alice", "alice/3", "alice/02", "alice/", "alice/-1", "alicex/0", "bob/0", ""}) {
    EXPECT_FALSE(registry_.Owns(session, other)) << other;
  }
  EXPECT_TRUE(registry_.Owns(Join("bob"), "bob"));
}

TEST_F(SessionTest, TokensAreFoundAndDiffer) {
  const SessionId alice = Join("alice");
  const std::string first = token_;
  Join("bob");
  EXPECT_EQ(first.size(), kSessionBytes);
  EXPECT_NE(first, token_);
  EXPECT_EQ(*registry_.Find(first), alice);
  EXPECT_EQ(registry_.Find("nonsense").status().code(), Code::kUnauthenticated);
}

TEST_F(SessionTest, NewerSessionOfAnIdentityEndsTheOlder) {
  const SessionId older = Join("alice");
  const std::string older_token = token_;
  Poll(older);
  const SessionId newer = Join("alice");
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_EQ(outcomes_[0].status().code(), Code::kAborted);
  EXPECT_EQ(registry_.Find(older_token).status().code(), Code::kAborted);
  // First the new one, so that the round does not close in between.
  ASSERT_THAT(events_, SizeIs(3));
  EXPECT_EQ(std::get<ClientsJoined>(events_[1]).session, newer);
  EXPECT_EQ(std::get<ClientsLeft>(events_[2]).session, older);
  EXPECT_EQ(registry_.sessions(), 1u);
}

TEST_F(SessionTest, LimitCountsVirtualClientsAndNotThoseReplaced) {
  Join("alice", 5);
  SessionRegistry::Effects effects;
  EXPECT_EQ(registry_.Join("bob", GoodClaim(4), now_, effects).status().code(), Code::kResourceExhausted);
  EXPECT_THAT(effects.events, IsEmpty());
  Join("bob", 3);
  Join("alice", 5);
}

TEST_F(SessionTest, TaskEndsTheOpenPollAndIsSentUntilAcknowledged) {
  const SessionId session = Join("alice");
  Poll(session);
  Send(session, Train("alice", 1));
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_THAT(LastKeys(), ElementsAre(Train("alice", 1).key));

  Poll(session);  // Not acknowledged: the reply may have been lost.
  EXPECT_THAT(outcomes_, SizeIs(1)) << "not in a busy loop";
  Pass(SessionRegistry::kResendSeconds);
  ASSERT_THAT(outcomes_, SizeIs(2));
  EXPECT_THAT(LastKeys(), ElementsAre(Train("alice", 1).key));
  EXPECT_TRUE(registry_.HasTasks());

  Poll(session, {Train("alice", 1).key});
  Pass(SessionRegistry::kResendSeconds);
  EXPECT_THAT(outcomes_, SizeIs(2));
  EXPECT_FALSE(registry_.HasTasks());
}

TEST_F(SessionTest, TasksThatWaitGoWithTheNextPollTogether) {
  const SessionId session = Join("alice", 2);
  Send(session, Train("alice/0", 1));
  Send(session, Train("alice/1", 1));
  Poll(session);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_THAT(*outcomes_[0], SizeIs(2));
}

TEST_F(SessionTest, StepsOfManyClientsGoWithSeveralPolls) {
  const SessionId session = Join("alice", 4);
  const auto step = std::make_shared<const Bytes>(SessionRegistry::kMaxStepBytesAReply / 2, std::uint8_t{7});
  for (int i = 0; i < 4; ++i) {
    Send(session, {.key = {.client_id = "alice/" + std::to_string(i), .round = 1, .attempt = 1, .step = kSecureStep},
                   .body = SecureTask{{step, nullptr}}});
  }
  Poll(session);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_THAT(*outcomes_[0], SizeIs(2));
  Poll(session, LastKeys());
  EXPECT_THAT(LastKeys(), SizeIs(2));
  Poll(session, LastKeys());
  EXPECT_FALSE(registry_.HasTasks());

  // One that is too long for company goes alone.
  const auto long_step = std::make_shared<const Bytes>(SessionRegistry::kMaxStepBytesAReply + 1, std::uint8_t{7});
  Send(session, {.key = {.client_id = "alice/0", .round = 1, .attempt = 1, .step = kSecureStep + 1},
                 .body = SecureTask{{nullptr, long_step}}});
  EXPECT_THAT(LastKeys(), SizeIs(1));
}

TEST_F(SessionTest, WithdrawnTasksAreGoneAndClosedRoundsStay) {
  const SessionId session = Join("alice");
  Send(session, Train("alice", 1));
  Send(session, Closed("alice", 1));
  Send(session, Closed("alice", 2));
  registry_.WithdrawTasks();
  Poll(session);
  EXPECT_THAT(LastKeys(), ElementsAre(Closed("alice", 2).key)) << "the latest speaks for the earlier ones";
}

TEST_F(SessionTest, PollsAreHeldLongWhenIdleAndShortWhenBusy) {
  const SessionId session = Join("alice");
  Poll(session);
  Pass(kIdlePollSeconds - 1);
  EXPECT_THAT(outcomes_, IsEmpty());
  Pass(1);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_THAT(*outcomes_[0], IsEmpty());

  Poll(session);
  Pass(60);
  registry_.SetBusy(session, true, now_);
  Pass(kBusyPollSeconds - 1);
  EXPECT_THAT(outcomes_, SizeIs(1));
  Pass(1);
  EXPECT_THAT(outcomes_, SizeIs(2));
}

TEST_F(SessionTest, ClientWithoutAPollForTheTimeoutHasLeft) {
  const SessionId session = Join("alice");
  Pass(14);
  const auto poll = Poll(session);
  Pass(60);
  EXPECT_THAT(events_, SizeIs(1)) << "an open poll is life";
  SessionRegistry::Effects effects;
  registry_.CancelPoll(poll, now_, effects);
  Run(effects);
  Pass(14);
  EXPECT_THAT(events_, SizeIs(1));
  Pass(1);
  ASSERT_THAT(events_, SizeIs(2));
  EXPECT_EQ(std::get<ClientsLeft>(events_[1]).session, session);
  EXPECT_EQ(registry_.Find(token_).status().code(), Code::kUnauthenticated) << "it may join again";
}

TEST_F(SessionTest, CancellingAnOldPollLeavesTheNewOneOpen) {
  const SessionId session = Join("alice");
  const auto old = Poll(session);
  Poll(session);
  ASSERT_THAT(outcomes_, SizeIs(1));
  EXPECT_EQ(outcomes_[0].status().code(), Code::kCancelled);
  SessionRegistry::Effects effects;
  registry_.CancelPoll(old, now_, effects);
  EXPECT_THAT(effects.polls, IsEmpty());
}

TEST_F(SessionTest, LeavingAndDrainingEndPollsAndRefuseMore) {
  const SessionId alice = Join("alice");
  const SessionId bob = Join("bob");
  Poll(alice);
  Poll(bob);
  SessionRegistry::Effects effects;
  registry_.Leave(alice, "done", effects);
  EXPECT_THAT(effects.events, SizeIs(1));
  registry_.Drain(effects);
  Run(effects);
  ASSERT_THAT(outcomes_, SizeIs(2));
  EXPECT_EQ(outcomes_[0].status().code(), Code::kCancelled);
  EXPECT_EQ(outcomes_[1].status().code(), Code::kUnavailable);
  EXPECT_EQ(registry_
                .Poll(
                    bob, {}, [](const auto&) {}, now_, effects)
                .status()
                .code(),
            Code::kUnavailable);
  EXPECT_EQ(registry_.Join("carol", GoodClaim(), now_, effects).status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace fedpeft::server
