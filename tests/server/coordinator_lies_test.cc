// What clients say that is not so: refused with a reason, and the run goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <limits>

#include "peft/metrics/counting.h"
#include "server/claims.h"
#include "tests/server/coordinator_fixture.h"
#include "tests/support/counted.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using testing::Federation;
using ::testing::HasSubstr;
using testing::LastHash;
using testing::RoundsOf;
using testing::SmallRun;
using testing::Tasks;

TEST(CoordinatorTest, LyingClientsAreRefusedAndNobodyElseIsDisturbed) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 2);
  Federation federation(folder.path(), run);
  federation.JoinAll(2);
  Tasks tasks = federation.TakeTrain(2);
  const auto& session = tasks[0].first;
  const auto& task = tasks[0].second;
  const Bytes good = federation.Update(task.key);
  const UploadManifest honest = federation.Manifest(task, good);

  const auto reason = [&](auto change) {
    UploadManifest manifest = honest;
    change(manifest);
    const UploadDecision decision = federation.Offer(session, manifest);
    EXPECT_EQ(decision.kind, UploadDecision::Kind::kRefused);
    return decision.reason;
  };
  EXPECT_THAT(reason([](UploadManifest& m) { m.length += 4; }), HasSubstr("bytes, want"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.base[0] ^= 1; }), HasSubstr("is against parameters"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.payload[0] ^= 1; }), HasSubstr("has payload"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.key.round = 2; }), HasSubstr("is not open"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.key.attempt = 9; }), HasSubstr("is not open"));
  EXPECT_THAT(reason([&](UploadManifest& m) { m.key.client_id = tasks[1].second.key.client_id; }),
              HasSubstr("not a client of this session"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.loss = std::numeric_limits<double>::quiet_NaN(); }),
              HasSubstr("out of range"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.loss = -1; }), HasSubstr("loss"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.loss = 1e300; }), HasSubstr("loss"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.seconds = -1; }), HasSubstr("seconds"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.examples = 0; }), HasSubstr("examples"));
  EXPECT_THAT(reason([](UploadManifest& m) { m.stats.examples = std::uint64_t{1} << 63; }), HasSubstr("examples"));

  EXPECT_EQ(federation.Offer(session, honest).kind, UploadDecision::Kind::kWanted);
  EXPECT_TRUE(federation.Upload(session, honest, good).ok());
  EXPECT_EQ(federation.Offer(session, honest).kind, UploadDecision::Kind::kAlreadyHere);
  EXPECT_TRUE(federation.Upload(session, honest, good).ok()) << "a replay is no error, and no second update";
  EXPECT_TRUE(federation.Upload(tasks[1]).ok());
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(RoundsOf(folder.path())[1].participants, 2u);
}

TEST(CoordinatorTest, BadValuesAreRefusedAndTheRoundGoesOnWithoutThem) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 2);
  Federation federation(folder.path(), run);
  // Three, so that the round can do without one; the run wants two before it starts.
  federation.coordinator().Post(ClientsJoined{1, {{"a", false, 10}, {"b", false, 10}, {"c", false, 10}}});
  Tasks tasks = federation.TakeTrain(3);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(federation.Upload(tasks[static_cast<std::size_t>(i)]).ok());
  Bytes bad = federation.Update(tasks[2].second.key);
  StoreLe(std::numeric_limits<float>::quiet_NaN(), bad.data() + 8);
  const Status refused = federation.Upload(1, federation.Manifest(tasks[2].second, bad), bad);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_THAT(refused.message(), HasSubstr("nan"));
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_EQ(RoundsOf(folder.path())[1].participants, 2u);
}

TEST(CoordinatorTest, AnUpdateWeighsWhatItsClientJoinedWithWhateverItClaims) {
  const auto play = [](std::uint64_t claimed) {
    TempFolder folder;
    RunSpec run = SmallRun(1, 2);
    Federation federation(folder.path(), run);
    federation.JoinAll(2);
    for (const auto& [session, task] : federation.TakeTrain(2)) {
      const Bytes bytes = federation.Update(task.key);
      UploadManifest manifest = federation.Manifest(task, bytes);
      if (task.key.client_id == "client-0") manifest.stats.examples = claimed;
      EXPECT_EQ(federation.Upload(session, manifest, bytes).ToString(), "OK");
    }
    federation.coordinator().Wait();
    EXPECT_EQ(RoundsOf(folder.path()).back().examples, 20u);
    return LastHash(folder.path());
  };
  EXPECT_EQ(play(10), play(std::uint64_t{1} << 40));
}

TEST(CoordinatorTest, AClientWhoseOfferIsRefusedForItsContentIsNotWaitedFor) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 2);
  Federation federation(folder.path(), run);
  federation.coordinator().Post(ClientsJoined{1, {{"a", false, 10}, {"b", false, 10}, {"c", false, 10}}});
  const Tasks tasks = federation.TakeTrain(3);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_TRUE(federation.Upload(tasks[i]).ok());
  UploadManifest manifest = federation.Manifest(tasks[2].second, federation.Update(tasks[2].second.key));
  manifest.stats.loss = std::numeric_limits<double>::infinity();
  EXPECT_EQ(federation.Offer(1, manifest).kind, UploadDecision::Kind::kRefused);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished) << "long before the deadline";
}

TEST(CoordinatorTest, AnUpdateThatCannotBeReadLosesNoAttempt) {
  class BrokenBytes : public UploadedBytes {
   public:
    explicit BrokenBytes(std::uint64_t length) : length_(length) {}
    Status Read(std::uint64_t, MutableByteSpan) override { return DataLoss("spool: an upload ends early"); }
    std::uint64_t length() const override { return length_; }

   private:
    const std::uint64_t length_;
  };
  TempFolder folder;
  Federation federation(folder.path(), SmallRun(1, 2));
  federation.JoinAll(2);
  const Tasks tasks = federation.TakeTrain(2);
  const UploadManifest manifest = federation.Manifest(tasks[0].second, federation.Update(tasks[0].second.key));
  std::promise<Status> answered;
  federation.coordinator().Post(UploadArrived{tasks[0].first, manifest, std::make_unique<BrokenBytes>(manifest.length),
                                              [&](Status status) { answered.set_value(std::move(status)); }});
  EXPECT_EQ(answered.get_future().get().code(), Code::kDataLoss);
  // Both updates count in the same attempt.
  for (const auto& task : tasks) EXPECT_EQ(federation.Upload(task).ToString(), "OK");
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
}

TEST(ClaimsTest, ClassesThatTheRunDoesNotHaveAreRefused) {
  const ProblemSpec problem = SmallRun(1, 1).problem;
  const auto claimed = [&](const std::string& label) {
    EvaluateStats stats{fedpeft::testing::Counted(10, 5, 5), 1};
    const auto add = [&](std::string_view prefix, std::int64_t count) {
      ASSERT_TRUE(stats.totals.Add(std::string(prefix) + label, count).ok());
    };
    add(sum::kHit, 5);
    add(sum::kGuess, 10);
    add(sum::kTruth, 10);
    return CheckEvaluateStats(stats, 10, problem).code();
  };
  EXPECT_EQ(claimed("0"), Code::kOk);
  EXPECT_EQ(claimed("2"), Code::kOk);
  for (const char* label : {"3", "02", "4294967295", ""}) EXPECT_EQ(claimed(label), Code::kInvalidArgument) << label;
}

TEST(ClaimsTest, TokensBeyondWhatTheExamplesCanHoldAreRefused) {
  ProblemSpec problem;
  problem.type = ProblemType::kLanguageModelling;
  problem.max_length = 8;
  const auto claimed = [&](std::int64_t tokens) {
    const EvaluateStats stats{*CountTokens(/*examples=*/10, tokens, /*correct=*/0, /*loss=*/1), 1};
    return CheckEvaluateStats(stats, 10, problem).code();
  };
  EXPECT_EQ(claimed(70), Code::kOk) << "of each but the first token";
  for (const std::int64_t tokens : {std::int64_t{0}, std::int64_t{71}, std::int64_t{1} << 58}) {
    EXPECT_EQ(claimed(tokens), Code::kInvalidArgument) << tokens;
  }
}

TEST(CoordinatorTest, EvaluationsBeyondWhatTheEvaluatorHoldsAreRefused) {
  TempFolder folder;
  RunSpec run = SmallRun(1, 1);
  run.evaluation.every = 1;
  run.evaluation.min_evaluators = 1;
  Federation federation(folder.path(), run);
  federation.Join(1, "t");
  federation.Join(2, "e", true);
  const Tasks task = federation.service().Take<EvaluateTask>(1);
  const EvaluateStats honest{fedpeft::testing::Counted(10, 5, 5), 1};
  const auto refused = [&](auto change) {
    EvaluateStats stats = honest;
    change(stats);
    return federation.Evaluate(task[0], stats).code();
  };
  // Refused for its content; the evaluation is then over without it, so one lie each.
  EXPECT_EQ(refused([](EvaluateStats& s) { s.totals = fedpeft::testing::Counted(std::int64_t{1} << 40, 5, 5); }),
            Code::kInvalidArgument);
  federation.PlayRound(1);
  Tasks next = federation.service().Take<EvaluateTask>(1);
  EXPECT_EQ(federation.Evaluate(next[0], {fedpeft::testing::Counted(10, 5, 4e11), 1}).code(), Code::kInvalidArgument);
  EXPECT_EQ(federation.coordinator().Wait().kind, RunOutcome::Kind::kFinished);
  EXPECT_FALSE(RoundsOf(folder.path()).back().evaluation.has_value());
}

}  // namespace
}  // namespace fedpeft::server
