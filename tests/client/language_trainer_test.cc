#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/trainer.h"
#include "peft/metrics/metrics.h"
#include "peft/model/load.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft::client {
namespace {

using ::testing::HasSubstr;

class LanguageTrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    SetUpBase(R"(, "tie_word_embeddings": true)");
    run_.problem.type = ProblemType::kLanguageModelling;
    run_.train.batch_size = 4;
    layout_ = PlanLayout(run_.plan).value();
  }
  void SetUpBase(const std::string& more) {
    const std::string config = testing::TinyDecoderConfig("llama", 2, more);
    ASSERT_TRUE(testing::WriteTinyDecoder(folder_.path(), config).ok());
    run_.plan.base = ReadBaseConfig(config)->shape;
    auto base = LoadBaseModel(folder_.path(), BaseDtype::kFloat32);
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_ = *base;
  }
  std::unique_ptr<LocalTrainer> MakeTrainer() const {
    auto trainer = LocalTrainer::Make(base_, run_, layout_);
    EXPECT_TRUE(trainer.ok()) << trainer.status().ToString();
    return std::move(trainer).value();
  }
  /// A text that counts from `first`, as one document.
  static Example Counting(std::int32_t first, std::uint32_t length, std::uint32_t prompt = 0) {
    Example example;
    for (std::uint32_t i = 0; i < length; ++i) example.ids.push_back(5 + (first + static_cast<std::int32_t>(i)) % 7);
    example.documents.push_back({length, prompt});
    return example;
  }
  static Example Joined(const Example& a, const Example& b) {
    Example both = a;
    both.ids.insert(both.ids.end(), b.ids.begin(), b.ids.end());
    both.documents.insert(both.documents.end(), b.documents.begin(), b.documents.end());
    return both;
  }
  Totals Evaluated(const ParamVector& params, const std::vector<Example>& examples) const {
    auto stats = MakeTrainer()->Evaluate(params, examples);
    EXPECT_TRUE(stats.ok()) << stats.status().ToString();
    return stats.ok() ? stats->totals : Totals();
  }

  testing::TempFolder folder_;
  RunSpec run_;
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
};

TEST_F(LanguageTrainerTest, LearnsWhatComesNext) {
  std::vector<Example> examples;
  for (std::int32_t i = 0; i < 28; ++i) examples.push_back(Counting(i, 4 + static_cast<std::uint32_t>(i) % 9));
  run_.train.epochs = 20;
  ParamVector params = ParamVector::Initial(layout_, 1);
  const Totals start = Evaluated(params, examples);
  const auto stats = MakeTrainer()->TrainRound(params, examples, {.learning_rate = 0.02, .round = 1, .client = "a"});
  ASSERT_TRUE(stats.ok()) << stats.status().ToString();
  EXPECT_EQ(stats->examples, 560);
  const Totals end = Evaluated(params, examples);
  EXPECT_LT(*MetricOf(Metric::kLoss, end), 0.5 * *MetricOf(Metric::kLoss, start));
  EXPECT_GT(*MetricOf(Metric::kTokenAccuracy, end), *MetricOf(Metric::kTokenAccuracy, start));
}

TEST_F(LanguageTrainerTest, DocumentsOfOneExampleDoNotSeeEachOther) {
  const ParamVector params = ParamVector::Initial(layout_, 1);
  const Example a = Counting(0, 5), b = Counting(3, 9, 4);
  const Totals apart = Evaluated(params, {a, b}), together = Evaluated(params, {Joined(a, b)});
  EXPECT_EQ(apart.Get(sum::kTokens), 4 + 5);
  EXPECT_EQ(together.Get(sum::kTokens), 4 + 5);
  EXPECT_NEAR(apart.GetReal(sum::kLoss), together.GetReal(sum::kLoss), 1e-4);
}

TEST_F(LanguageTrainerTest, PromptsAreReadAndNotLearned) {
  const ParamVector params = ParamVector::Initial(layout_, 1);
  const double all = Evaluated(params, {Counting(0, 9)}).GetReal(sum::kLoss);
  const double first = Evaluated(params, {Counting(0, 4)}).GetReal(sum::kLoss);
  const Totals rest = Evaluated(params, {Counting(0, 9, 4)});
  EXPECT_EQ(rest.Get(sum::kTokens), 5);
  EXPECT_NEAR(rest.GetReal(sum::kLoss), all - first, 1e-4);
}

TEST_F(LanguageTrainerTest, ContinuesWhatItHasLearned) {
  std::vector<Example> examples;
  for (std::int32_t i = 0; i < 28; ++i) examples.push_back(Counting(i, 12));
  run_.train.epochs = 40;
  ParamVector params = ParamVector::Initial(layout_, 1);
  const auto trainer = MakeTrainer();
  ASSERT_TRUE(trainer->TrainRound(params, examples, {.learning_rate = 0.02, .round = 1, .client = "a"}).ok());
  const Example whole = Counting(2, 9);
  const std::span<const std::int32_t> prompt = std::span(whole.ids).first(4);
  GenerateOptions options;
  options.max_new_tokens = 5;
  const auto text = trainer->Continue(params, prompt, options);
  ASSERT_TRUE(text.ok()) << text.status().ToString();
  EXPECT_EQ(text->ids, std::vector<std::int32_t>(whole.ids.begin() + 4, whole.ids.end()));
  EXPECT_NE(trainer->Continue(ParamVector::Initial(layout_, 1), prompt, options)->ids, text->ids);
}

TEST_F(LanguageTrainerTest, RefusesABaseWithoutAHeadAndExamplesWithoutDocuments) {
  const ParamVector params = ParamVector::Initial(layout_, 1);
  Example bare = Counting(0, 5);
  bare.documents.clear();
  EXPECT_THAT(MakeTrainer()->Evaluate(params, {&bare, 1}).status().message(), HasSubstr("want documents"));
  const Example silent = Counting(0, 5, 5);
  EXPECT_THAT(MakeTrainer()->Evaluate(params, {&silent, 1}).status().message(), HasSubstr("one to predict"));
  EXPECT_EQ(MakeTrainer()->Predict(params, {&silent, 1}).status().code(), Code::kUnimplemented);
  SetUpBase("");
  EXPECT_THAT(LocalTrainer::Make(base_, run_, layout_).status().message(), HasSubstr("lm_head.weight"));
}

}  // namespace
}  // namespace fedpeft::client
