#include "peft/plan/prompt_start.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/plan/base_values.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_base.h"

namespace fedpeft {
namespace {

using Ids = std::vector<std::int32_t>;
using Start = PromptConfig::Start;
using ::testing::HasSubstr;

class PromptStartTest : public ::testing::Test {
 protected:
  PromptStartTest() { EXPECT_TRUE(testing::WriteTinyBase(folder_.path()).ok()); }

  /// Words of the tiny tokenizer.
  static std::string Word(std::size_t index) { return testing::TinyWords()[index]; }
  static PeftPlan PlanOf(PromptConfig prompt) {
    PeftPlan plan = testing::TinyPlan();
    plan.method = std::move(prompt);
    return plan;
  }
  static const Ids& IdsOf(const PeftPlan& plan) { return std::get<PromptConfig>(plan.method).ids; }
  ModelFolder Base() const { return ModelFolder::Open(folder_.path()).value(); }
  Tokenizer Words() const { return Tokenizer::FromFile(folder_.File("tokenizer.json")).value(); }

  testing::TempFolder folder_;
};

TEST_F(PromptStartTest, ATextsTokensAreRepeatedOrCutOff) {
  for (const auto& [length, want] : {std::pair{7, Ids{2, 4, 5, 3, 2, 4, 5}}, {3, Ids{2, 4, 5}}}) {
    const PromptConfig prompt{.length = length, .start = Start::kText, .text = Word(0) + " " + Word(1)};
    PeftPlan plan = PlanOf(prompt), by_folder = plan;
    ASSERT_TRUE(ResolvePrompt(Words(), plan).ok());
    EXPECT_EQ(IdsOf(plan), want);
    ASSERT_TRUE(ResolvePrompt(Base(), Words().hash(), by_folder).ok());
    EXPECT_EQ(IdsOf(by_folder), want);
  }
}

TEST_F(PromptStartTest, TheSeedDrawsFromTheWholeVocabulary) {
  const auto drawn = [&](std::uint64_t seed) {
    PeftPlan plan = PlanOf({.length = 400, .start = Start::kVocabulary, .seed = seed}), by_folder = plan;
    EXPECT_TRUE(ResolvePrompt(Words(), plan).ok());
    EXPECT_TRUE(ResolvePrompt(Base(), {}, by_folder).ok());
    EXPECT_EQ(IdsOf(plan), IdsOf(by_folder));
    return IdsOf(plan);
  };
  const Ids one = drawn(1);
  EXPECT_EQ(one.size(), 400u);
  EXPECT_EQ(one, drawn(1));
  EXPECT_NE(one, drawn(2));
  EXPECT_EQ(std::ranges::min(one), 0);
  EXPECT_EQ(std::ranges::max(one), 49);
}

TEST_F(PromptStartTest, OtherMethodsAreLeftAsTheyAre) {
  PeftPlan plan = PlanOf({.length = 2});
  ASSERT_TRUE(ResolvePrompt(Words(), plan).ok());
  EXPECT_TRUE(IdsOf(plan).empty());
  plan.method = PrefixConfig{};
  EXPECT_TRUE(ResolvePrompt(Base(), {}, plan).ok());
}

TEST_F(PromptStartTest, WhatCannotBeIsRefused) {
  PeftPlan plan = PlanOf({.length = 2, .start = Start::kText, .text = Word(0)});
  Digest other{};
  other[0] = 1;
  EXPECT_THAT(ResolvePrompt(Base(), other, plan).message(), HasSubstr("want the run's 01"));
  plan.base.vocab_size = 4;
  EXPECT_THAT(ResolvePrompt(Words(), plan).message(), HasSubstr("has token id 4, want below 4"));
  nlohmann::json bare = testing::TinyTokenizer();
  bare.erase("post_processor");
  std::get<PromptConfig>(plan.method).text = " ";
  EXPECT_THAT(ResolvePrompt(Tokenizer::FromJson(bare.dump()).value(), plan).message(), HasSubstr("gives no tokens"));
}

TEST_F(PromptStartTest, AnOffsetIsFromTheTokensVectors) {
  PeftPlan plan = PlanOf({.length = 2, .start = Start::kText, .text = Word(3)});
  ASSERT_TRUE(ResolvePrompt(Words(), plan).ok());
  ParamVector params(PlanLayout(plan).value());
  ASSERT_TRUE(AddBaseValues(Base(), plan, 1, params).ok());
  const std::vector<float> table = testing::TinyTensors().at("embeddings.word_embeddings.weight").second;
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(params.tensor(0)[i], table[static_cast<std::size_t>(IdsOf(plan)[i / 32]) * 32 + i % 32]) << i;
  }
}

}  // namespace
}  // namespace fedpeft
