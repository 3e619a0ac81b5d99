#include "client/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "peft/io/model_folder.h"
#include "peft/metrics/metrics.h"
#include "peft/model/load.h"
#include "peft/plan/ranks.h"
#include "tests/client/texts.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"

namespace fedpeft::client {
namespace {

using ::testing::HasSubstr;

class TrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::WriteTinyBert(folder_.path()).ok());
    auto base = LoadBaseModel(folder_.path(), BaseDtype::kFloat32);
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_ = *base;
    run_.plan = testing::TinyPlan();
    run_.train.batch_size = 8;
    auto layout = PlanLayout(run_.plan);
    ASSERT_TRUE(layout.ok()) << layout.status().ToString();
    layout_ = *layout;
  }

  std::unique_ptr<LocalTrainer> MakeTrainer() const {
    auto trainer = LocalTrainer::Make(base_, run_, layout_);
    EXPECT_TRUE(trainer.ok()) << trainer.status().ToString();
    return std::move(trainer).value();
  }
  ParamVector Start() const { return ParamVector::Initial(layout_, 1); }
  /// Parameters after one round.
  ParamVector Trained(const TrainRequest& request) const {
    ParamVector params = Start();
    const auto stats = MakeTrainer()->TrainRound(params, examples_, request);
    EXPECT_TRUE(stats.ok()) << stats.status().ToString();
    return params;
  }
  static bool SameBits(const ParamVector& a, const ParamVector& b) {
    return std::memcmp(a.values().data(), b.values().data(), a.values().size_bytes()) == 0;
  }

  testing::TempFolder folder_;
  RunSpec run_;
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
  std::vector<Example> examples_ = Texts();
};

TEST_F(TrainerTest, LearnsAndLeavesTheBaseAlone) {
  const auto hash = [&] { return ModelFolder::Open(folder_.path()).value().BaseHash(); };
  const Digest before = hash();
  run_.train.epochs = 12;
  const auto trainer = MakeTrainer();
  ParamVector params = Start();
  const auto start = trainer->Evaluate(params, examples_);
  const auto stats = trainer->TrainRound(params, examples_, {.learning_rate = 0.02, .round = 1, .client = "a"});
  const auto end = trainer->Evaluate(params, examples_);
  ASSERT_TRUE(start.ok() && stats.ok() && end.ok());
  EXPECT_EQ(stats->examples, 480);
  EXPECT_EQ(stats->steps, 60);
  EXPECT_LT(end->totals.GetReal(sum::kLoss), 0.3 * start->totals.GetReal(sum::kLoss));
  EXPECT_GE(end->totals.Get(sum::kCorrect), 36);
  EXPECT_EQ(hash(), before);
}

TEST_F(TrainerTest, RateZeroLeavesTheParametersBitForBit) {
  for (const auto optimizer : {TrainSpec::Optimizer::kAdamW, TrainSpec::Optimizer::kSgd}) {
    run_.train.optimizer = optimizer;
    run_.train.weight_decay = 0.1;
    EXPECT_TRUE(SameBits(Trained({.learning_rate = 0, .round = 1, .client = "a"}), Start()));
  }
}

TEST_F(TrainerTest, IsReproducibleAndClientsAndRoundsDiffer) {
  std::get<LoraConfig>(run_.plan.method).dropout = 0.1;
  run_.train.base_dropout = 0.1;
  const ParamVector once = Trained({.learning_rate = 0.01, .round = 1, .client = "a"});
  EXPECT_TRUE(SameBits(once, Trained({.learning_rate = 0.01, .round = 1, .client = "a"})));
  EXPECT_FALSE(SameBits(once, Trained({.learning_rate = 0.01, .round = 2, .client = "a"})));
  EXPECT_FALSE(SameBits(once, Trained({.learning_rate = 0.01, .round = 1, .client = "b"})));
}

TEST_F(TrainerTest, StepsMayEndWithinAnEpochOrGoBeyond) {
  run_.train.epochs = 0;
  run_.train.steps = 7;
  ParamVector params = Start();
  std::vector<std::int64_t> seen;
  const auto stats = MakeTrainer()->TrainRound(params, examples_, {.learning_rate = 0.01, .round = 1, .client = "a"},
                                               nullptr, [&](const TrainProgress& p) { seen.push_back(p.step); });
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->steps, 7);
  EXPECT_THAT(seen, ::testing::ElementsAre(1, 2, 3, 4, 5, 6, 7));
}

TEST_F(TrainerTest, FullBatchStepIsTheMeanOfItsRows) {
  run_.train.optimizer = TrainSpec::Optimizer::kSgd;
  run_.train.batch_size = 64;
  const ParamVector together = Trained({.learning_rate = 0.1, .round = 1, .client = "a"});
  // Two clients with half of the rows each: the mean of their steps is the step on all rows.
  ParamVector first = Start(), second = Start();
  const std::span<const Example> all(examples_);
  ASSERT_TRUE(MakeTrainer()->TrainRound(first, all.first(20), {.learning_rate = 0.1, .round = 1, .client = "a"}).ok());
  ASSERT_TRUE(MakeTrainer()->TrainRound(second, all.last(20), {.learning_rate = 0.1, .round = 1, .client = "b"}).ok());
  for (std::size_t i = 0; i < layout_->size(); ++i) {
    ASSERT_NEAR(together.values()[i], (first.values()[i] + second.values()[i]) / 2, 1e-6);
  }
}

TEST_F(TrainerTest, AFrozenHeadStaysWhereItStarted) {
  run_.plan.head = HeadPolicy::kFrozen;
  run_.train.weight_decay = 0.1;
  const ParamVector trained = Trained({.learning_rate = 0.01, .round = 1, .client = "a"}), start = Start();
  const std::size_t head = layout_->tensors().size() - 2;
  EXPECT_TRUE(std::ranges::equal(trained.tensor(head), start.tensor(head)));
  EXPECT_FALSE(std::ranges::equal(trained.tensor(0), start.tensor(0)));
}

TEST_F(TrainerTest, SaysWhenALossIsNotFiniteAndKeepsTheStart) {
  ParamVector params = Start();
  params.tensor(0)[0] = std::numeric_limits<float>::infinity();
  const ParamVector before = params.Clone();
  const auto stats = MakeTrainer()->TrainRound(params, examples_, {.learning_rate = 0.1, .round = 1, .client = "a"});
  EXPECT_EQ(stats.status().code(), Code::kAborted);
  EXPECT_THAT(stats.status().message(), HasSubstr("step 1: loss: got"));
  EXPECT_TRUE(SameBits(params, before));
}

TEST_F(TrainerTest, StopsBeforeAStep) {
  ParamVector params = Start();
  const std::atomic<bool> stop = true;
  const auto stats =
      MakeTrainer()->TrainRound(params, examples_, {.learning_rate = 0.1, .round = 1, .client = "a"}, &stop);
  EXPECT_EQ(stats.status().code(), Code::kCancelled);
  EXPECT_TRUE(SameBits(params, Start()));
}

TEST_F(TrainerTest, PredictsInTheOrderOfTheExamples) {
  const auto trainer = MakeTrainer();
  const ParamVector params = Trained({.learning_rate = 0.02, .round = 1, .client = "a"});
  const auto all = trainer->Predict(params, examples_);
  ASSERT_TRUE(all.ok());
  for (std::size_t i = 0; i < examples_.size(); ++i) {
    const auto one = trainer->Predict(params, std::span(&examples_[i], 1));
    ASSERT_TRUE(one.ok());
    for (std::size_t k = 0; k < 3; ++k) EXPECT_NEAR(all->values[i * 3 + k], one->values[k], 1e-5);
  }
}

TEST_F(TrainerTest, RegressionLearnsANumber) {
  run_.problem.type = ProblemType::kRegression;
  run_.plan.labels = 1;
  layout_ = PlanLayout(run_.plan).value();
  for (Example& example : examples_) example.value = static_cast<float>(example.label) - 1;
  run_.train.epochs = 20;
  const auto trainer = MakeTrainer();
  ParamVector params = Start();
  const auto start = trainer->Evaluate(params, examples_);
  ASSERT_TRUE(trainer->TrainRound(params, examples_, {.learning_rate = 0.02, .round = 1, .client = "a"}).ok());
  const auto end = trainer->Evaluate(params, examples_);
  ASSERT_TRUE(start.ok() && end.ok());
  EXPECT_LT(*MetricOf(Metric::kLoss, end->totals), 0.3 * *MetricOf(Metric::kLoss, start->totals));
  EXPECT_GT(*MetricOf(Metric::kPearson, end->totals), 0.8);
  const auto predicted = trainer->Predict(params, examples_);
  ASSERT_TRUE(predicted.ok() && predicted->values.size() == examples_.size());
  double squares = 0;
  for (std::size_t i = 0; i < examples_.size(); ++i) {
    squares += std::pow(predicted->values[i] - examples_[i].value, 2);
  }
  EXPECT_NEAR(squares / 40, *MetricOf(Metric::kLoss, end->totals), 1e-5);
}

TEST_F(TrainerTest, RefusesExamplesOfAnotherRun) {
  const auto trainer = MakeTrainer();
  const ParamVector params = Start();
  EXPECT_THAT(trainer->Evaluate(params, {}).status().message(), HasSubstr("no examples"));
  examples_[3].label = 3;
  EXPECT_THAT(trainer->Evaluate(params, examples_).status().message(), HasSubstr("got label 3, want 0 to 2"));
  examples_[3] = {{2, 50}, {}, 0};
  EXPECT_THAT(trainer->Evaluate(params, examples_).status().message(), HasSubstr("token id: got 50"));
}

TEST_F(TrainerTest, RefusesABaseOrALayoutOfAnotherRun) {
  RunSpec other = run_;
  std::get<LoraConfig>(other.plan.method).rank = 2;
  EXPECT_EQ(LocalTrainer::Make(base_, other, layout_).status().code(), Code::kInvalidArgument);
  other = run_;
  other.plan.base.vocab_size = 51;
  EXPECT_EQ(LocalTrainer::Make(base_, other, layout_).status().code(), Code::kFailedPrecondition);
}

/// An optimiser that lives on has moments of what fell away.
TEST_F(TrainerTest, RanksThatFellAwayStayZero) {
  AdaLoraConfig config;
  config.lora.rank = 4;
  config.lora.target_modules = {"query", "value"};
  config.target_rank = 2;
  run_.plan.method = config;
  layout_ = PlanLayout(run_.plan).value();
  const auto trainer = MakeTrainer();
  ParamVector params = Start();
  TrainRequest request{.learning_rate = 0.01, .client = "c", .keep_optimizer = true};
  for (request.round = 1; request.round <= 3; ++request.round) {
    ASSERT_TRUE(trainer->TrainRound(params, examples_, request).ok());
    AllocateRanks(run_.plan.method, request.round, 1, params);
  }
  // The third round pruned nothing: what was zero before it has to be so still.
  ParamVector zeroed = params.Clone();
  ZeroUnusedRanks(zeroed);
  EXPECT_TRUE(SameBits(params, zeroed));
  EXPECT_LT(DensePayload(*layout_, std::vector<bool>(layout_->tensors().size(), true), 1, KeptRanksOf(params)).size,
            layout_->size());
}

}  // namespace
}  // namespace fedpeft::client
