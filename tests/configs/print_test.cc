#include "configs/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/key_table.h"
#include "configs/loader.h"
#include "peft/core/files.h"
#include "tests/configs/sample_run.h"

namespace fedpeft::configs {
namespace {

using ::testing::ElementsAre;
using testing::kSampleRun;

v1::RunConfig Load(const std::vector<std::string>& overrides = {}) {
  Result<LoadedRun> run = LoadRunText(kSampleRun, "run.yaml", overrides);
  FEDPEFT_CHECK(run.ok());
  return run->config;
}

TEST(PrintTest, LoadsBackToTheSameMessage) {
  const v1::RunConfig config =
      Load({"schedule.1.rounds=2", "train.epsilon=1e-7", "seed=18446744073709551615",
            R"(problem.labels=["null", "a \"b\", \\c", 'no', "1", "Ünï: #x", "-", "a b", " c "])", "base.name="});
  const std::string yaml = ToYaml(config);
  const Result<LoadedRun> again = LoadRunText(yaml, "printed.yaml");
  ASSERT_TRUE(again.ok()) << again.status().message() << "\n" << yaml;
  EXPECT_EQ(again->config.SerializeAsString(), config.SerializeAsString()) << yaml;
}

TEST(PrintTest, PrintsOnlyWhatAMessageHas) {
  v1::RunConfig config;
  config.mutable_base()->set_model_type("bert");
  config.mutable_base()->set_hidden_size(384);
  config.mutable_problem()->add_labels("yes");
  config.mutable_problem()->add_labels("maybe not");
  config.add_schedule()->set_rounds(2);
  config.add_schedule()->mutable_reducer()->set_max_abs(0.5);
  EXPECT_EQ(ToYaml(config),
            "base:\n  model_type: bert\n  hidden_size: 384\n"
            "problem:\n  labels: [\"yes\", \"maybe not\"]\n"
            "schedule:\n  - rounds: 2\n  - reducer:\n      max_abs: 0.5\n");
}

TEST(PrintTest, DifferenceNamesEachKey) {
  EXPECT_THAT(Difference(Load(), Load()), ElementsAre());
  EXPECT_THAT(Difference(Load({"schedule.1.rounds=2"}), Load()).front(), "schedule.1.rounds: was 2, is gone");
  EXPECT_THAT(Difference(Load(), Load({"train.learning_rate=0.25", "problem.labels.3=x y"})),
              ElementsAre("train.learning_rate: was 0.005, is 0.25", "problem.labels.3: is new, \"x y\""));
}

TEST(KeyTableTest, ReadmeHasTheTablesOfTheSchema) {
  const Result<std::string> readme = ReadFile(FEDPEFT_SOURCE_DIR "/configs/README.md", 1 << 20);
  ASSERT_TRUE(readme.ok());
  const Result<std::string> updated = WithKeyTables(*readme);
  ASSERT_TRUE(updated.ok()) << updated.status().message();
  EXPECT_TRUE(*readme == *updated) << "run fedpeft_config_doc configs/README.md";
}

}  // namespace
}  // namespace fedpeft::configs
