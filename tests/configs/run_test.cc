#include "configs/run.h"

#include <gtest/gtest.h>

#include "configs/loader.h"
#include "tests/configs/sample_run.h"

namespace fedpeft {
namespace {

using configs::testing::kSampleRun;

v1::RunConfig Load(const std::vector<std::string>& overrides = {}) {
  Result<configs::LoadedRun> run = configs::LoadRunText(kSampleRun, "run.yaml", overrides);
  FEDPEFT_CHECK(run.ok());
  return run->config;
}

TEST(RunTest, TranslatesEveryPart) {
  const Result<RunSpec> run =
      TranslateRun(Load({"seed=7", "train.optimizer=sgd", "train.momentum=0.5", "train.schedule.kind=cosine",
                         "schedule.0.reducer.weights=uniform", "schedule.0.server_optimizer.kind=fedyogi",
                         "peft.head=frozen", "evaluation.metric=loss", "schedule.1.rounds=2", "limits.keep_rounds=9"}));
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(run->name, "sample");
  EXPECT_EQ(run->seed, 7u);
  EXPECT_EQ(run->weights[31], 0xaa);
  EXPECT_EQ(run->tokenizer[31], 0xbb);
  EXPECT_EQ(run->problem.labels.size(), 3u);
  EXPECT_EQ(run->plan.base.hidden_size, 12);
  EXPECT_EQ(run->plan.labels, 3);
  EXPECT_EQ(run->plan.head, HeadPolicy::kFrozen);
  EXPECT_EQ(run->train.optimizer, TrainSpec::Optimizer::kSgd);
  EXPECT_EQ(run->train.base_dtype, TrainSpec::BaseDtype::kAuto);
  EXPECT_EQ(run->train.schedule, TrainSpec::Schedule::kCosine);
  EXPECT_EQ(run->schedule[0].reducer.weights, ReducerSpec::Weights::kUniform);
  EXPECT_EQ(run->schedule[0].server_optimizer.kind, ServerOptimizerSpec::Kind::kFedYogi);
  EXPECT_EQ(run->evaluation.metric, Metric::kLoss);
  EXPECT_EQ(run->limits.keep_rounds, 9u);
  EXPECT_EQ(run->total_rounds(), 5u);
  EXPECT_EQ(&run->PhaseAt(3), &run->schedule[0]);
  EXPECT_EQ(&run->PhaseAt(4), &run->schedule[1]);
}

TEST(RunTest, RefusesAMessageThatLacksKeys) {
  const Result<RunSpec> run = TranslateRun(v1::RunConfig());
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().code(), Code::kInvalidArgument);
  EXPECT_TRUE(run.status().message().starts_with("name: is missing")) << run.status().message();
}

TEST(RunTest, LearningRateWarmsUpAndDecays) {
  TrainSpec train;
  train.learning_rate = 1;
  train.warmup_rounds = 1;
  train.final_factor = 0.2;
  train.schedule = TrainSpec::Schedule::kLinear;
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 1, 6), 0.5);
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 2, 6), 1);
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 4, 6), 0.6);
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 6, 6), 0.2);
  train.schedule = TrainSpec::Schedule::kCosine;
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 2, 6), 1);
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 4, 6), 0.6);
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 6, 6), 0.2);
  train.schedule = TrainSpec::Schedule::kConstant;
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 6, 6), 1);
}

TEST(RunTest, LearningRateHasThePeakInASingleRound) {
  TrainSpec train;
  train.learning_rate = 0.5;
  train.schedule = TrainSpec::Schedule::kCosine;
  EXPECT_DOUBLE_EQ(LearningRateAt(train, 1, 1), 0.5);
}

}  // namespace
}  // namespace fedpeft
