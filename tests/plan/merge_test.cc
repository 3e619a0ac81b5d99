#include "peft/plan/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Two wide, so that a test can count by hand.
BaseShape TinyShape(const std::string& family) {
  BaseShape shape{family, 2, 1, 1, 3, 5, 4};
  shape.type_vocab_size = 1;
  return shape;
}

ParamVector Filled(const PeftPlan& plan, std::initializer_list<std::pair<std::string, std::vector<float>>> tensors) {
  ParamVector params(PlanLayout(plan).value());
  for (const auto& [name, values] : tensors) {
    std::copy(values.begin(), values.end(),
              params.tensor(params.layout()->Find("base_model.model." + name).value()).begin());
  }
  return params;
}

std::vector<float> Applied(const Merger& merger, const std::string& name, std::vector<float> values) {
  EXPECT_TRUE(merger.Changes(name));
  merger.Apply(name, values);
  return values;
}

const std::string kQuery = "bert.encoder.layer.0.attention.self.query", kFused = "transformer.h.0.attn.c_attn";

TEST(MergerTest, LowRankBranchesAreAdded) {
  const PeftPlan plan{TinyShape("bert"), LoraConfig{.rank = 1, .alpha = 2, .target_modules = {"query"}}, 2};
  const ParamVector params = Filled(plan, {{kQuery + ".lora_A.weight", {1, 10}}, {kQuery + ".lora_B.weight", {3, 5}}});
  const Merger merger = Merger::Make(plan, params).value();
  EXPECT_THAT(Applied(merger, kQuery + ".weight", {1, 1, 1, 1}), ElementsAre(7, 61, 11, 101));
  EXPECT_FALSE(merger.Changes(kQuery + ".bias"));
  EXPECT_FALSE(merger.Changes("classifier.weight"));
}

TEST(MergerTest, TransposedLinearsStayTransposed) {
  const PeftPlan plan{TinyShape("gpt2"), LoraConfig{.rank = 1, .alpha = 1, .target_modules = {"c_attn"}}, 2};
  const ParamVector params =
      Filled(plan, {{kFused + ".lora_A.weight", {1, 10}}, {kFused + ".lora_B.weight", {1, 2, 3, 4, 5, 6}}});
  EXPECT_THAT(Applied(Merger::Make(plan, params).value(), kFused + ".weight", std::vector<float>(12, 0)),
              ElementsAre(1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60));
}

TEST(MergerTest, RowsGetTheirLengths) {
  const PeftPlan plan{TinyShape("bert"), LoraConfig{.rank = 1, .target_modules = {"query"}, .use_dora = true}, 2};
  // Lengths 5 and 2; the first grows by 5, the second not.
  const ParamVector params = Filled(plan, {{kQuery + ".lora_magnitude_vector", {5, 0}}});
  EXPECT_THAT(Applied(Merger::Make(plan, params).value(), kQuery + ".weight", {3, 4, 0, 2}), ElementsAre(6, 8, 0, 2));
}

TEST(MergerTest, FactorsScaleOutputsWithTheirBiasAndInputs) {
  const PeftPlan plan{TinyShape("bert"), Ia3Config{{"query", "intermediate.dense"}, {"intermediate.dense"}}, 2};
  const std::string wide = "bert.encoder.layer.0.intermediate.dense";
  const ParamVector params = Filled(plan, {{kQuery + ".ia3_l", {2, 3}}, {wide + ".ia3_l", {10, 100}}});
  const Merger merger = Merger::Make(plan, params).value();
  EXPECT_THAT(Applied(merger, kQuery + ".weight", {1, 2, 3, 4}), ElementsAre(2, 4, 9, 12));
  EXPECT_THAT(Applied(merger, kQuery + ".bias", {1, 1}), ElementsAre(2, 3));
  EXPECT_THAT(Applied(merger, wide + ".weight", {1, 2, 3, 4, 5, 6}), ElementsAre(10, 200, 30, 400, 50, 600));
  EXPECT_FALSE(merger.Changes(wide + ".bias"));
}

TEST(MergerTest, OffsetsAreAdded) {
  const PeftPlan plan{TinyShape("bert"), OffsetConfig{OffsetConfig::What::kBiases}, 2};
  const ParamVector params = Filled(plan, {{kQuery + ".bias", {1, -1}}});
  const Merger merger = Merger::Make(plan, params).value();
  EXPECT_THAT(Applied(merger, kQuery + ".bias", {5, 5}), ElementsAre(6, 4));
  EXPECT_FALSE(merger.Changes(kQuery + ".weight"));
}

TEST(MergerTest, ChosenElementsAreAdded) {
  const SparseConfig config{.density = 1.0 / 3, .target_modules = {"c_attn"}, .seed = 5};  // 4 of [6, 2]
  const PeftPlan plan{TinyShape("gpt2"), config, 2};
  const ParamVector params = Filled(plan, {{kFused + ".sparse_values", {1, 2, 3, 4}}});
  const std::vector<std::int64_t> mask = SparseMask(SparseSites(TinyShape("gpt2"), config).value()[0], 5);
  std::vector<float> want(12, 10);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    const auto at = static_cast<std::size_t>(mask[i]);
    want[at % 2 * 6 + at / 2] += static_cast<float>(i + 1);
  }
  EXPECT_EQ(Applied(Merger::Make(plan, params).value(), kFused + ".weight", std::vector<float>(12, 10)), want);
}

TEST(MergerTest, WhatIsNoChangeOfParametersIsRefused) {
  const PeftPlan plan{TinyShape("bert"), PromptConfig{2}, 2};
  EXPECT_THAT(Merger::Make(plan, ParamVector(PlanLayout(plan).value())).status().message(),
              HasSubstr("a prompt of 2 vectors cannot become part of the base's parameters"));
}

}  // namespace
}  // namespace fedpeft
