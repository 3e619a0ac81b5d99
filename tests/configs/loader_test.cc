#include "configs/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/configs/sample_run.h"

namespace fedpeft::configs {
namespace {

using ::testing::HasSubstr;
using testing::kSampleRun;

/// The sample with `from` replaced by `to`.
std::string Sample(const std::string& from, const std::string& to) {
  std::string text = kSampleRun;
  const std::size_t at = text.find(from);
  FEDPEFT_CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string ErrorOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const Result<LoadedRun> run = LoadRunText(text, "run.yaml", overrides);
  return run.ok() ? "" : run.status().message();
}

TEST(LoaderTest, FillsDefaultsInMessagesAndListItems) {
  const Result<LoadedRun> run = LoadRunText(kSampleRun, "run.yaml");
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(run->config.seed(), 1u);
  EXPECT_EQ(run->config.peft().lora().rank(), 8u);
  EXPECT_THAT(run->config.peft().lora().target_modules(), ::testing::ElementsAre("query", "value"));
  EXPECT_EQ(run->config.train().epsilon(), 1e-8);
  EXPECT_EQ(run->config.schedule(0).server_optimizer().kind(), v1::ServerOptimizer::FEDAVG);
  EXPECT_EQ(run->config.problem().labels(1), "yes");
  EXPECT_EQ(run->places.at("schedule.0.rounds").line, 15);
}

TEST(LoaderTest, AppliesOverridesInOrder) {
  const Result<LoadedRun> run = LoadRunText(
      kSampleRun, "run.yaml",
      {"schedule.0.rounds=7", "schedule.1.rounds=4", "peft.lora.rank=3", "peft.lora.rank=010", "problem.labels=[a, b]",
       "peft.lora.target_modules.0=key", "train.optimizer=sgd", "train.learning_rate=1e-3", "base.name="});
  ASSERT_TRUE(run.ok()) << run.status().message();
  ASSERT_EQ(run->config.schedule_size(), 2);
  EXPECT_EQ(run->config.schedule(0).rounds(), 7u);
  EXPECT_EQ(run->config.schedule(1).rounds(), 4u);
  EXPECT_EQ(run->config.peft().lora().rank(), 10u);
  EXPECT_EQ(run->config.problem().labels_size(), 2);
  EXPECT_THAT(run->config.peft().lora().target_modules(), ::testing::ElementsAre("key"));
  EXPECT_EQ(run->config.train().optimizer(), v1::Train::SGD);
  EXPECT_EQ(run->config.train().learning_rate(), 1e-3);
  EXPECT_TRUE(run->config.base().has_name());
}

struct Reject {
  std::string name;
  /// What of the sample is replaced by what.
  std::string from;
  std::string to;
  /// The whole first line of the error.
  std::string want;
};

class LoaderRejectTest : public ::testing::TestWithParam<Reject> {};

TEST_P(LoaderRejectTest, NamesPlaceKeyAndReason) {
  const std::string error = ErrorOf(Sample(GetParam().from, GetParam().to));
  EXPECT_EQ(error.substr(0, error.find('\n')), "run.yaml:" + GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Table, LoaderRejectTest,
    ::testing::Values(
        Reject{"UnknownKey", "  hidden_size: 12", "  hidden_sise: 12",
               "2:1: base.hidden_size: is missing, want an integer: model width"},
        Reject{"DuplicateKey", "name: sample", "name: sample\nname: again",
               "2:1: got the key \"name\" a second time, want it once"}),
    [](const auto& test) { return test.param.name; });

TEST(LoaderTest, EveryReadyRunLoads) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(FEDPEFT_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    const Result<LoadedRun> run = LoadRun(entry.path().string());
    EXPECT_TRUE(run.ok()) << run.status().message();
    ++count;
  }
  EXPECT_GE(count, 2);
}

}  // namespace
}  // namespace fedpeft::configs
