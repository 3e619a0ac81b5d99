#include "server/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/global_model.h"
#include "server/store.h"
#include "tests/server/small_run.h"
#include "tests/support/counted.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(RoundLineTest, LineSaysWhatARoundBroughtAndWhatRemains) {
  RoundRecord record;
  record.round = 3;
  record.participants = 4;
  record.train_loss = 0.81234;
  record.bytes_up = 1'600'000;
  record.bytes_down = 3'200'000;
  record.seconds = 12.3;
  EXPECT_EQ(RoundLine(record, 12, 14),
            "round 3/12  4 clients  loss 0.8123  up 1.6 MB  down 3.2 MB  12.3 s  9 to go, about 2 min");
  EvaluationRecord evaluation;
  evaluation.counts.totals = fedpeft::testing::Counted(1000, 712, 500);
  evaluation.best = true;
  record.evaluation = evaluation;
  EXPECT_EQ(RoundLine(record, 3, 14),
            "round 3/3  4 clients  loss 0.8123  accuracy 71.20 % (best)  up 1.6 MB  down 3.2 MB  12.3 s  last round");
}

TEST(RoundLineTest, LineOfTheStartHasNoClients) {
  RoundRecord start;
  EXPECT_EQ(RoundLine(start, 12, 0), "round 0/12  start");
}

/// A state folder whose rounds a test completes.
class ProgressTest : public ::testing::Test {
 protected:
  void Commit(std::uint32_t round, std::int64_t committed_ms) {
    RoundCommit commit;
    commit.record.round = round;
    commit.record.committed_ms = committed_ms;
    commit.record.seconds = 1;
    ASSERT_TRUE(store_.Commit(commit, *model_.checkpoint()).ok());
  }
  void Evaluate(std::uint32_t round) {
    ASSERT_TRUE(store_.AddEvaluation({round, EvaluateStats{fedpeft::testing::Counted(10, 5, 1), 4}, 1}).ok());
  }

  fedpeft::testing::TempFolder folder_;
  const RunSpec run_ = testing::SmallRun(20);
  Store store_ = *Store::Open(folder_.path(), "config", run_);
  GlobalModel model_ = *GlobalModel::Make(run_);
};

TEST_F(ProgressTest, EveryCompleteRoundIsALineOnceAndWhatRemainsCountsEvaluations) {
  Progress progress(folder_.path());
  Commit(0, 0);
  EXPECT_TRUE(progress.NewLines().empty()) << "its evaluation is not over";
  Evaluate(0);
  EXPECT_EQ(progress.NewLines(), std::vector<std::string>{"round 0/20  accuracy 50.00 %  start"});
  EXPECT_TRUE(progress.NewLines().empty());
  Commit(1, 100'000);
  Evaluate(1);
  ASSERT_THAT(progress.NewLines(), ElementsAre(HasSubstr("19 to go, about 2 min"))) << "19 times 1 s and 4 s";
  Commit(2, 110'000);
  Evaluate(2);
  ASSERT_THAT(progress.NewLines(), ElementsAre(HasSubstr("18 to go, about 3 min"))) << "18 times 10 s";
}

TEST_F(ProgressTest, RoundsOfAnEarlierProcessAreNotPrintedAgain) {
  for (std::uint32_t round = 0; round <= 2; ++round) {
    Commit(round, 0);
    Evaluate(round);
  }
  Progress progress(folder_.path());
  EXPECT_EQ(progress.NewLines(), std::vector<std::string>{"going on after round 2/20"});
}

}  // namespace
}  // namespace fedpeft::server
