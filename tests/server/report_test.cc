#include "server/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "peft/io/adapter_folder.h"
#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"
#include "server/store.h"
#include "tests/server/small_run.h"
#include "tests/support/counted.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using ::testing::HasSubstr;
using testing::SmallRun;

/// A state folder of two committed rounds, the first of which is the best.
class ReportTest : public ::testing::Test {
 protected:
  ReportTest() : layout_(*PlanLayout(run_.plan)) {
    Store store = *Store::Open(folder_.path(), "config", run_);
    EXPECT_TRUE(store.SetJoined({{"a", false, 10}, {"e", true, 5}}).ok());
    for (std::uint32_t round = 0; round <= 2; ++round) {
      RoundCommit commit;
      commit.record.round = round;
      commit.record.participants = commit.record.cohort = round > 0 ? 1 : 0;
      if (round > 0) commit.record.train_loss = 0.125;
      if (round > 0) commit.submissions = {{"a", SubmissionCounts{10, 10, 0.125, 1}, 400}};
      EXPECT_TRUE(store.Commit(commit, {ParamVector::Initial(layout_, round), {}}).ok());
      const EvaluateStats counts{fedpeft::testing::Counted(8, round == 1 ? 6 : 2, 4), 1};
      EXPECT_TRUE(store.AddEvaluation({round, counts, 1, round < 2}).ok());
    }
  }

  StateReader Reader() { return *StateReader::Open(folder_.path()); }

  const RunSpec run_ = SmallRun();
  std::shared_ptr<const ParamLayout> layout_;
  TempFolder folder_;
};

TEST_F(ReportTest, TablesAndJsonSayTheSame) {
  StateReader state = Reader();
  const std::string table = *RoundsText(state);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 4);
  EXPECT_THAT(table, HasSubstr("0.7500"));
  const auto rounds = nlohmann::json::parse(*RoundsJson(state));
  ASSERT_EQ(rounds.size(), 3u);
  EXPECT_EQ(rounds[1]["eval_accuracy"], 0.75);
  EXPECT_EQ(rounds[1]["train_loss"], 0.125);
  EXPECT_TRUE(rounds[0]["train_loss"].is_null());
}

TEST_F(ReportTest, ShowNamesRunBestRoundAndClients) {
  StateReader state = Reader();
  EXPECT_THAT(*ShowText(state), HasSubstr("2 of 3"));
  const auto show = nlohmann::json::parse(*ShowJson(state));
  EXPECT_EQ(show["best"]["round"], 1);
  EXPECT_EQ(show["last"]["round"], 2);
  EXPECT_EQ(show["clients"][0]["rounds"], 2);
  EXPECT_EQ(show["clients"][1]["role"], "evaluator");
}

TEST_F(ReportTest, ExportWritesTheBestRoundBitForBit) {
  TempFolder out;
  StateReader state = Reader();
  const Result<std::uint32_t> round = ExportRound(state, run_, std::nullopt, {out.File("adapter")});
  ASSERT_TRUE(round.ok()) << round.status().ToString();
  EXPECT_EQ(*round, 1u);
  const Result<AdapterFolder> adapter = ReadAdapterFolder(out.File("adapter"));
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  const ParamVector want = ParamVector::Initial(layout_, 1);
  ASSERT_EQ(adapter->file.tensors().size(), layout_->tensors().size());
  for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
    const TensorSpec& tensor = layout_->tensors()[i];
    std::vector<float> got(want.tensor(i).size());
    ASSERT_TRUE(CopyFloats(adapter->file.tensors().at(tensor.name), got).ok());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), want.tensor(i).begin())) << tensor.name;
  }
  EXPECT_EQ(adapter->file.metadata().at(std::string(adapter_metadata::kLabels)), R"(["a","b","c"])");
  EXPECT_EQ(adapter->config.r, 2);
}

TEST_F(ReportTest, ExportOfARoundThatIsGoneSaysWhichAreHere) {
  TempFolder out;
  StateReader state = Reader();
  EXPECT_THAT(ExportRound(state, run_, 0, {out.File("adapter")}).status().message(), HasSubstr("1, 2"));
  EXPECT_EQ(ExportRound(state, run_, 9, {out.File("adapter")}).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace fedpeft::server
