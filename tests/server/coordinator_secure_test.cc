// Whole runs under secure aggregation, the coordinator and real clients' sessions in one process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "client/secure_clients.h"
#include "client/update_store.h"
#include "privacy/secagg/server_session.h"
#include "proto/secure_aggregation.pb.h"
#include "server/checkpoint.h"
#include "server/secure_round.h"
#include "server/store.h"
#include "tests/server/coordinator_fixture.h"
#include "tests/server/secure_federation.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using ::testing::Contains;
using testing::Federation;
using ::testing::HasSubstr;
using testing::LastHash;
using testing::Member;
using testing::MemoryBytes;
using ::testing::Not;
using testing::ParamsOf;
using testing::RoundsOf;
using testing::SecureFederation;
using testing::SmallRun;
using testing::Tasks;
using Stage = privacy::ServerSession::Stage;

constexpr std::uint32_t StepOf(Stage stage) {
  return kSecureStep + static_cast<std::uint32_t>(stage);
}

RunSpec SecureRun(std::uint32_t rounds = 2, std::uint32_t clients = 6) {
  RunSpec run = SmallRun(rounds, clients);
  run.schedule[0].reducer.max_weight = 1000;
  run.limits.max_clients = 16;
  run.secure.on = true;
  run.secure.max_drop_out = 0.35;
  run.secure.bits = 32;
  return run;
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  FEDPEFT_CHECK(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - double{b[i]}));
  return largest;
}

/// The parameters after a round in the clear in which exactly these clients took part.
std::vector<float> InTheClear(RunSpec run, const std::vector<std::string>& clients) {
  run.secure.on = false;
  run.schedule[0].rounds = 1;
  run.schedule[0].min_clients = static_cast<std::uint32_t>(clients.size());
  TempFolder folder;
  Federation federation(folder.path(), run);
  SessionId session = 0;
  for (const std::string& client : clients) federation.Join(++session, client);
  federation.PlayRound(clients.size());
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  return ParamsOf(folder.path(), 1, run);
}

std::vector<std::string> SubmittersOf(const std::string& state, std::uint32_t round) {
  std::vector<std::string> clients;
  const std::vector<Submission> submissions = *StateReader::Open(state)->Submissions(round);
  for (const Submission& one : submissions) {
    EXPECT_FALSE(one.counts.has_value());
    clients.push_back(one.client);
  }
  return clients;
}

/// Rounding up or down by one step of every client's value, at most, over their mean.
double QuantisationError(const RunSpec& run, double range) {
  const auto budget = RingBudgetOf(run, run.schedule[0]);
  return std::ldexp(1.0, -privacy::ScaleExponent(*privacy::LargestLevel(*budget), range)) + 1e-7;
}

TEST(SecureRunTest, TheSumIsThatOfTheClear) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(1);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(6);
  federation.Train(6);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<std::string> submitters = SubmittersOf(state.path(), 1);
  EXPECT_EQ(submitters.size(), 6u);
  EXPECT_LE(LargestDifference(ParamsOf(state.path(), 1, run), InTheClear(run, submitters)), QuantisationError(run, 1));
  const RoundRecord round = RoundsOf(state.path()).back();
  EXPECT_EQ(round.examples, 6 * Member::kExamples);
  EXPECT_NEAR(*round.train_loss, 0.5, 1e-6);
  EXPECT_EQ(round.threat, "semi_malicious");
  ASSERT_TRUE(round.secure.has_value());
  EXPECT_EQ(round.secure->saturated, 0u);
  EXPECT_EQ(round.secure->next_range, 0.5);  // the updates are some hundredths
}

TEST(SecureRunTest, LossesAtEachStepChangeWhoIsInTheSumAndNothingElse) {
  for (const Stage stage : {Stage::kAdvertise, Stage::kShare, Stage::kUpload, Stage::kSign, Stage::kUnmask}) {
    TempFolder state, clients;
    const RunSpec run = SecureRun(1, 5);
    SecureFederation federation(state.path(), run, clients.path());
    federation.JoinAll(8);
    federation.Train(8);
    std::size_t lost = 0;
    federation.Sum([&](const TaskKey& key) { return key.step == StepOf(stage) && ++lost <= 2; });
    EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
    const std::vector<std::string> submitters = SubmittersOf(state.path(), 1);
    EXPECT_EQ(submitters.size(), stage <= Stage::kUpload ? 6u : 8u) << StepOf(stage);
    EXPECT_LE(LargestDifference(ParamsOf(state.path(), 1, run), InTheClear(run, submitters)),
              QuantisationError(run, 1));
  }
}

TEST(SecureRunTest, TooManyLossesCostAnAttemptAndTheUpdatesServeTheNext) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(1, 5);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(8);
  federation.Train(8);
  std::size_t lost = 0;
  federation.Sum([&](const TaskKey& key) { return key.step == kSecureUploadStep && key.attempt == 2 && ++lost <= 3; });
  // Five are there, and their shares would give the sum; but no more than 35 % may be lost.
  federation.Train(5);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const auto attempts = *StateReader::Open(state.path())->Attempts();
  ASSERT_EQ(attempts.size(), 3u);
  EXPECT_EQ(attempts[1].status, "lost");
  EXPECT_THAT(attempts[1].reason, HasSubstr("got 5 clients' answers, want 6"));
  EXPECT_LE(LargestDifference(ParamsOf(state.path(), 1, run), InTheClear(run, SubmittersOf(state.path(), 1))),
            QuantisationError(run, 1));
}

TEST(SecureRunTest, OnceUnmaskingWasAskedForAFailedSumVoidsTheRound) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(2);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(6);
  federation.Train(6);
  std::size_t lost = 0;
  federation.Sum(
      [&](const TaskKey& key) { return key.step == StepOf(Stage::kUnmask) && key.round == 1 && ++lost <= 3; },
      /*comes_back=*/true);
  federation.Train(6);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<RoundRecord> rounds = RoundsOf(state.path());
  ASSERT_EQ(rounds.size(), 3u);
  EXPECT_EQ(rounds[1].participants, 0u);
  EXPECT_EQ(rounds[1].params_sha256, rounds[0].params_sha256);
  EXPECT_EQ(rounds[2].participants, 6u);
  EXPECT_NE(rounds[2].params_sha256, rounds[1].params_sha256);
  EXPECT_EQ((*StateReader::Open(state.path())->Attempts())[0].status, "void");
}

/// Plays the first round until everybody has been asked that step, and ends the coordinator there as a kill would. Who
/// was asked to unmask has answered.
void DieAt(Stage stage, const std::string& state, const RunSpec& run, const std::string& clients) {
  SecureFederation federation(state, run, clients);
  federation.JoinAll(6);
  federation.Train(6);
  std::size_t asked = 0;
  while (asked < 6) {
    const auto next = federation.federation().service().TakeStep();
    ASSERT_TRUE(next.has_value());
    const auto& [session, task] = *next;
    const auto reply = federation.StepReply(task);
    EXPECT_TRUE(reply.ok());
    // An answer that nobody hears of: the client has done its part, the coordinator dies.
    if (task.key.step == StepOf(stage)) {
      ++asked;
    } else {
      federation.Reply(session, task, reply);
    }
  }
}

TEST(SecureRunTest, P10_ACoordinatorThatDiesBeforeUnmaskingRepeatsTheRoundUnderFreshKeys) {
  for (const Stage stage : {Stage::kAdvertise, Stage::kShare, Stage::kUpload, Stage::kSign}) {
    TempFolder state, clients;
    const RunSpec run = SecureRun(1);
    DieAt(stage, state.path(), run, clients.path());
    SecureFederation federation(state.path(), run, clients.path());
    federation.JoinAll(6);
    federation.Train(6);
    federation.Sum();
    EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
    EXPECT_TRUE(federation.refusals().empty());
    const auto attempts = *StateReader::Open(state.path())->Attempts();
    ASSERT_EQ(attempts.size(), 2u);
    EXPECT_EQ(attempts[0].status, "abandoned");
    EXPECT_EQ(RoundsOf(state.path()).back().participants, 6u);
  }
}

TEST(SecureRunTest, F12_ACoordinatorThatDiesWhileUnmaskingVoidsTheRound) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(2);
  DieAt(Stage::kUnmask, state.path(), run, clients.path());
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(6);
  federation.Train(6);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_TRUE(federation.refusals().empty());
  const std::vector<RoundRecord> rounds = RoundsOf(state.path());
  ASSERT_EQ(rounds.size(), 3u);
  EXPECT_EQ(rounds[1].participants, 0u);
  EXPECT_EQ(rounds[2].participants, 6u);
}

TEST(SecureRunTest, ClientsThatHaveUnmaskedJoinNoOtherSumOfTheRound) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(1);
  DieAt(Stage::kUnmask, state.path(), run, clients.path());
  // A coordinator that forgets what it had asked for gets nothing more.
  Member member(run, StateReader::Open(state.path())->Run()->run_id, JoinPath(clients.path(), "client-0"));
  const auto reply = member.Take({"client-0", 1, 2, StepOf(Stage::kAdvertise)}, Bytes());
  EXPECT_EQ(reply.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(reply.status().message(), HasSubstr("has unmasked a sum of round 1"));
}

TEST(SecureRunTest, A11AVectorThatIsNoneVoidsTheRoundAndTheNextOneWorks) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(2);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(6);
  federation.Train(6);
  federation.Play([&](SessionId session, const Task& task) {
    if (task.key.client_id != "client-3" || task.key.step != kSecureUploadStep) return false;
    auto reply = federation.StepReply(task);
    EXPECT_TRUE(reply.ok() && reply->masked);
    for (std::uint8_t& byte : reply->bytes) byte ^= 0x5A;
    federation.Reply(session, task, reply);
    return true;
  });
  federation.Train(6);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  const std::vector<RoundRecord> rounds = RoundsOf(state.path());
  ASSERT_EQ(rounds.size(), 3u);
  EXPECT_EQ(rounds[1].params_sha256, rounds[0].params_sha256);
  EXPECT_THAT((*StateReader::Open(state.path())->Attempts())[0].reason, HasSubstr("canaries are not zero"));
  EXPECT_EQ(rounds[2].participants, 6u);
}

TEST(SecureRunTest, WhoSealsNonsenseCostsAnAttemptAndIsLeftOut) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(1, 5);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(7);
  federation.Train(7);
  federation.Play([&](SessionId session, const Task& task) {
    if (task.key.client_id != "client-3") return false;
    if (task.key.step == kSecureUploadStep) return true;  // complaints come before its vector would
    if (task.key.step != StepOf(Stage::kShare)) return false;
    auto reply = federation.StepReply(task);
    v1::SecureAnswer answer;
    EXPECT_TRUE(reply.ok() && answer.ParseFromArray(reply->bytes.data(), static_cast<int>(reply->bytes.size())));
    for (std::string& sealed : *answer.mutable_shares()->mutable_sealed()) sealed.front() ^= 1;
    EXPECT_TRUE(answer.SerializeToArray(reply->bytes.data(), static_cast<int>(reply->bytes.size())));
    federation.Reply(session, task, reply);
    return true;
  });
  EXPECT_EQ((*StateReader::Open(state.path())->Attempts())[1].status, "lost");
  federation.Train(6);
  federation.Sum();
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_THAT(SubmittersOf(state.path(), 1), Not(Contains("client-3")));
  EXPECT_EQ(RoundsOf(state.path()).back().participants, 6u);
}

TEST(SecureRunTest, UpdatesInTheClearAreRefused) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(1);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(6);
  const Tasks tasks = federation.federation().TakeTrain(6);
  const Bytes update = federation.federation().Update(tasks[0].second.key);
  const UploadDecision decision =
      federation.federation().Offer(tasks[0].first, federation.federation().Manifest(tasks[0].second, update));
  EXPECT_EQ(decision.kind, UploadDecision::Kind::kRefused);
  EXPECT_THAT(decision.reason, HasSubstr("no masked update is wanted"));
}

TEST(SecureRunTest, TrainedIsNoAnswerInTheClear) {
  TempFolder folder;
  Federation federation(folder.path(), SmallRun(1, 3));
  federation.JoinAll(3);
  const Tasks tasks = federation.TakeTrain(3);
  EXPECT_EQ(federation.Answer(tasks[0].first, tasks[0].second.key, Trained{}).code(), Code::kInvalidArgument);
  EXPECT_EQ(federation.Answer(tasks[0].first, {"client-0", 1, 1, kSecureStep}, SecureAnswer{{1, 2}}).code(),
            Code::kFailedPrecondition);
  for (const auto& task : tasks) EXPECT_TRUE(federation.Upload(task).ok());
}

TEST(SecureRunTest, AMaskedVectorOfAnotherLengthOrModelIsRefusedAndItsClientLost) {
  TempFolder state, clients;
  const RunSpec run = SecureRun(1, 5);
  SecureFederation federation(state.path(), run, clients.path());
  federation.JoinAll(7);
  federation.Train(7);
  int liars = 0;
  federation.Play([&](SessionId session, const Task& task) {
    if (task.key.step != kSecureUploadStep || liars == 2) return false;
    const auto reply = federation.StepReply(task);
    EXPECT_TRUE(reply.ok() && reply->masked);
    UploadManifest manifest = SecureFederation::ManifestOf(task.key, *reply);
    ++liars == 1 ? ++manifest.length : ++manifest.base[0];
    EXPECT_EQ(federation.federation().Offer(session, manifest).kind, UploadDecision::Kind::kRefused);
    return true;
  });
  EXPECT_EQ(federation.federation().coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(RoundsOf(state.path()).back().participants, 5u);
}

}  // namespace
}  // namespace fedpeft::server
