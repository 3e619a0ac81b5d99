#include "server/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"
#include "server/state_reader.h"
#include "tests/server/small_run.h"
#include "tests/support/counted.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SmallRun;

const char* const kConfig = "config";

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() : layout_(*PlanLayout(run_.plan)) {}

  Store Open() {
    Result<Store> store = Store::Open(folder_.path(), kConfig, run_);
    EXPECT_TRUE(store.ok()) << store.status().ToString();
    return *std::move(store);
  }
  Checkpoint Values(float value) const {
    Checkpoint checkpoint{ParamVector(layout_), {{"momentum", std::vector<float>(layout_->size(), value)}}};
    for (float& one : checkpoint.params.values()) one = value;
    return checkpoint;
  }
  static RoundCommit Round(std::uint32_t round, std::uint32_t attempt = 1) {
    RoundCommit commit;
    commit.record.round = round;
    commit.record.attempt = round == 0 ? 0 : attempt;
    commit.record.participants = 1;
    commit.record.train_loss = 0.25;
    commit.record.params_sha256[0] = static_cast<std::uint8_t>(round);
    if (round > 0) commit.submissions = {{"a", SubmissionCounts{10, 10, 0.25, 1.5}, 400}};
    return commit;
  }
  void CommitRounds(Store& store, std::uint32_t last) {
    for (std::uint32_t round = 0; round <= last; ++round) {
      if (round > 0) {
        EXPECT_TRUE(store.OpenAttempt({round, 1, {"a", "b"}}).ok());
      }
      const Status committed = store.Commit(Round(round), Values(static_cast<float>(round)));
      EXPECT_TRUE(committed.ok()) << committed.ToString();
    }
  }
  std::vector<std::uint32_t> Kept() {
    std::vector<std::uint32_t> kept;
    StateReader reader = *StateReader::Open(folder_.path());
    const std::vector<RoundRecord> rounds = *reader.Rounds();
    for (const RoundRecord& round : rounds) {
      const bool there = std::filesystem::exists(folder_.File(Store::ParamsFile(round.round)));
      EXPECT_EQ(there, round.kept) << round.round;
      if (round.kept) kept.push_back(round.round);
    }
    return kept;
  }

  const RunSpec run_ = SmallRun();
  std::shared_ptr<const ParamLayout> layout_;
  TempFolder folder_;
};

TEST_F(StoreTest, CommittedRoundsComeBackAsTheyWere) {
  {
    Store store = Open();
    CommitRounds(store, 2);
  }
  Store store = Open();
  const RoundRecord last = **store.LastRound();
  EXPECT_EQ(last.round, 2u);
  EXPECT_EQ(last.train_loss, 0.25);
  EXPECT_EQ(last.params_sha256[0], 2);
  const Checkpoint checkpoint = *store.LoadCheckpoint(2, layout_);
  EXPECT_EQ(checkpoint.params.values().front(), 2.0f);
  EXPECT_EQ(checkpoint.params.values().back(), 2.0f);
  EXPECT_EQ(checkpoint.optimizer.at("momentum"), std::vector<float>(layout_->size(), 2.0f));
  StateReader reader = *StateReader::Open(folder_.path());
  EXPECT_EQ(reader.Submissions(2)->front().bytes, 400u);
  EXPECT_EQ(reader.Attempts()->front().cohort, (std::vector<std::string>{"a", "b"}));
}

TEST_F(StoreTest, TheRunKeepsItsIdentityAcrossRestarts) {
  std::string id;
  { id = Open().run().run_id; }
  EXPECT_EQ(Open().run().run_id, id);
  EXPECT_EQ(id.size(), 16u);
}

TEST_F(StoreTest, AnOpenAttemptIsAbandonedAndRepeatedWithItsCohort) {
  {
    Store store = Open();
    CommitRounds(store, 1);
    ASSERT_TRUE(store.SetJoined({{"a", false, 10}, {"e", true, 5}, {"gone", false, 1}}).ok());
    ASSERT_TRUE(store.SetLeft({"gone"}).ok());
    ASSERT_TRUE(store.OpenAttempt({2, 1, {"a", "b"}}).ok());
    ASSERT_TRUE(store.LoseAttempt({2, 1, "too few"}, {{1, "round.lost", 2, "too few"}}).ok());
    ASSERT_TRUE(store.OpenAttempt({2, 2, {"a", "c"}}).ok());
  }
  Store store = Open();
  const ResumePoint resume = *store.LoadResumePoint();
  EXPECT_EQ(resume.committed_round, 1u);
  EXPECT_EQ(resume.last_attempt, 2u);
  EXPECT_EQ(resume.lost_attempts, 1u);
  EXPECT_THAT(resume.cohort, ElementsAre("a", "c"));
  EXPECT_THAT(resume.expected, ElementsAre("a", "e"));
}

TEST_F(StoreTest, ALostAttemptsCohortIsKnownToo) {
  {
    Store store = Open();
    CommitRounds(store, 1);
    ASSERT_TRUE(store.OpenAttempt({2, 1, {"a", "b"}}).ok());
    EXPECT_FALSE(store.LoadResumePoint()->cohort_lost);
    ASSERT_TRUE(store.LoseAttempt({2, 1, "too few"}, {}).ok());
  }
  const ResumePoint resume = *Open().LoadResumePoint();
  EXPECT_TRUE(resume.cohort_lost);
  EXPECT_THAT(resume.cohort, ElementsAre("a", "b"));
}

TEST_F(StoreTest, ACrashBetweenFileAndTransactionLeavesTheLastRound) {
  {
    Store store = Open();
    CommitRounds(store, 1);
  }
  // What a kill leaves that came after the rename and before the transaction, or in the middle of the write.
  std::filesystem::copy(folder_.File(Store::ParamsFile(1)), folder_.File(Store::ParamsFile(2)));
  std::ofstream(folder_.File("params/round-000003.safetensors.tmp")) << "half";
  Store store = Open();
  EXPECT_EQ((*store.LastRound())->round, 1u);
  EXPECT_FALSE(std::filesystem::exists(folder_.File(Store::ParamsFile(2))));
  EXPECT_FALSE(std::filesystem::exists(folder_.File("params/round-000003.safetensors.tmp")));
  ASSERT_TRUE(store.OpenAttempt({2, 1, {"a"}}).ok());
  EXPECT_TRUE(store.Commit(Round(2), Values(2)).ok());
}

TEST_F(StoreTest, ACopyTakenWhileRunningOpensAtTheLastCommit) {
  TempFolder copy;
  Store store = Open();
  CommitRounds(store, 2);
  ASSERT_TRUE(store.OpenAttempt({3, 1, {"a"}}).ok());
  // What a power cut leaves: the files, write-ahead log included, without the process that held them.
  std::filesystem::copy(folder_.path(), copy.path(),
                        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  Result<Store> other = Store::Open(copy.path(), kConfig, run_);
  ASSERT_TRUE(other.ok()) << other.status().ToString();
  EXPECT_EQ((*other->LastRound())->round, 2u);
  EXPECT_EQ(other->LoadResumePoint()->last_attempt, 1u);
}

TEST_F(StoreTest, KeepsTheLastRoundsAndTheBest) {
  Store store = Open();
  ASSERT_TRUE(store.Commit(Round(0), Values(0)).ok());
  for (std::uint32_t round = 1; round <= 6; ++round) {
    ASSERT_TRUE(store.OpenAttempt({round, 1, {"a"}}).ok());
    ASSERT_TRUE(store.Commit(Round(round), Values(1)).ok());
    const EvaluateStats counts{fedpeft::testing::Counted(10, round == 2 ? 9 : 5, 1), 1};
    ASSERT_TRUE(store.AddEvaluation({round, counts, 1, round <= 2}).ok());
  }
  EXPECT_THAT(Kept(), ElementsAre(2, 5, 6));
  StateReader reader = *StateReader::Open(folder_.path());
  EXPECT_EQ(reader.BestRound()->round, 2u);
  EXPECT_THAT(reader.ParamsPath(3).status().message(), HasSubstr("2, 5, 6"));
}

TEST_F(StoreTest, RoundLogHasOneLineACompleteRoundAndIsMadeAnewAtStart) {
  const auto lines = [&] {
    std::ifstream file(folder_.File("rounds.jsonl"));
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  };
  std::vector<std::string> before;
  {
    Store store = Open();
    CommitRounds(store, 2);
    EXPECT_TRUE(lines().empty()) << "no round is complete before its evaluation";
    ASSERT_TRUE(store.AddEvaluation({0, std::nullopt, 0, false}).ok());
    ASSERT_TRUE(store.AddEvaluation({1, EvaluateStats{fedpeft::testing::Counted(4, 1, 2), 1}, 1, true}).ok());
    before = lines();
    ASSERT_EQ(before.size(), 2u);
    EXPECT_THAT(before[0], HasSubstr(R"("eval_loss":null)"));
    EXPECT_THAT(before[1], HasSubstr(R"("eval_accuracy":0.25)"));
  }
  std::ofstream(folder_.File("rounds.jsonl"), std::ios::app) << "{\"round\":";
  Open();
  EXPECT_EQ(lines(), before);
}

TEST_F(StoreTest, AnotherConfigurationIsRefused) {
  { Open(); }
  const Result<Store> other = Store::Open(folder_.path(), "another", run_);
  EXPECT_EQ(other.status().code(), Code::kFailedPrecondition);
}

TEST_F(StoreTest, TheKeyOfTheNoiseIsTheRunsUntilItIsFinished) {
  Bytes first;
  {
    Store store = Open();
    const auto key = store.NoiseKey(0);
    ASSERT_TRUE(key.ok());
    first.assign(key->bytes().begin(), key->bytes().end());
    CommitRounds(store, 1);
  }
  Store store = Open();
  const auto again = store.NoiseKey(1);
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), again->bytes().begin()));
  ASSERT_TRUE(store.SetStatus(RunStatus::kFinished, "").ok());
  EXPECT_EQ(store.NoiseKey(1).status().code(), Code::kDataLoss);
  for (const char* file : {"fedpeft.db", "fedpeft.db-wal"}) {
    const Result<std::string> content = ReadFile(folder_.File(file), 1 << 24);
    EXPECT_FALSE(content.ok() && content->find(std::string(first.begin(), first.end())) != std::string::npos) << file;
  }
}

TEST_F(StoreTest, KnowsWhoWasInTheLastRounds) {
  Store store = Open();
  ASSERT_TRUE(store.Commit(Round(0), Values(0)).ok());
  for (std::uint32_t round = 1; round <= 5; ++round) {
    ASSERT_TRUE(store.OpenAttempt({round, 1, {"a"}}).ok());
    RoundCommit commit = Round(round);
    commit.submissions = {{"all", std::nullopt, 1}, {"only-" + std::to_string(round), std::nullopt, 1}};
    ASSERT_TRUE(store.Commit(commit, Values(1)).ok());
  }
  using Recent = std::map<std::string, std::uint32_t>;
  EXPECT_EQ(store.LoadResumePoint(3)->recent, (Recent{{"all", 5}, {"only-4", 4}, {"only-5", 5}}));
  EXPECT_EQ(store.LoadResumePoint()->recent, Recent{});
  EXPECT_EQ(store.LoadResumePoint(100)->recent.size(), 6u);
}

TEST_F(StoreTest, ADamagedCheckpointIsReported) {
  Store store = Open();
  CommitRounds(store, 1);
  const std::string path = folder_.File(Store::ParamsFile(1));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4);
  EXPECT_FALSE(store.LoadCheckpoint(1, layout_).ok());
}

TEST_F(StoreTest, ReadersSeeCommitsOfARunningStore) {
  Store store = Open();
  CommitRounds(store, 0);
  StateReader reader = *StateReader::Open(folder_.path());
  EXPECT_EQ(reader.Rounds()->size(), 1u);
  ASSERT_TRUE(store.OpenAttempt({1, 1, {"a"}}).ok());
  ASSERT_TRUE(store.Commit(Round(1), Values(1)).ok());
  EXPECT_EQ(reader.Rounds()->size(), 2u);
  EXPECT_EQ(StateReader::Open(folder_.File("nothing")).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace fedpeft::server
