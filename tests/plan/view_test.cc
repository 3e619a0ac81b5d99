#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/plan/plan.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

PeftPlan ViewedPlan(MethodConfig method = LoraConfig{.rank = 2, .target_modules = {"query"}}) {
  PeftPlan plan;
  plan.base = {"bert", 32, 2, 4, 48, 50, 40};
  plan.method = std::move(method);
  plan.labels = 3;
  return plan;
}

/// A letter a tensor: s shared, l local, f frozen; two LoRA layers' A and B, then the head's weight and bias.
std::string Letters(const PeftPlan& plan, const ViewConfig& config) {
  const auto layout = PlanLayout(plan).value();
  const Result<ViewSpec> view = PlanView(plan, *layout, config);
  if (!view.ok()) return view.status().message();
  std::string letters;
  for (std::size_t i = 0; i < view->train.size(); ++i) {
    EXPECT_TRUE(view->train[i] || !view->share[i]);
    letters += view->share[i] ? 's' : view->train[i] ? 'l' : 'f';
  }
  return letters;
}

TEST(ViewTest, PartsAreSharedLocalOrFrozen) {
  EXPECT_EQ(Letters(ViewedPlan(), {}), "ssssss");
  EXPECT_EQ(Letters(ViewedPlan(), {.frozen = {"lora_a"}}), "fsfsss");  // FFA-LoRA
  EXPECT_EQ(Letters(ViewedPlan(), {.local = {"lora_b"}}), "slslss");   // FedSA-LoRA
  EXPECT_EQ(Letters(ViewedPlan(), {.local = {"head"}}), "ssssll");     // a personal head
  EXPECT_EQ(Letters(ViewedPlan(), {.local = {"lora_b"}, .frozen = {"head"}}), "slslff");
  EXPECT_EQ(Letters(ViewedPlan(), {.frozen = {"lora_a", "lora_b"}}), "ffffss");
}

TEST(ViewTest, HeadsPolicyHoldsInEveryView) {
  PeftPlan plan = ViewedPlan();
  plan.head = HeadPolicy::kLocal;
  EXPECT_EQ(Letters(plan, {}), "ssssll");
  EXPECT_EQ(Letters(plan, {.frozen = {"lora_a"}}), "fsfsll");
  plan.head = HeadPolicy::kFrozen;
  EXPECT_EQ(Letters(plan, {}), "ssssff");
  EXPECT_THAT(Letters(plan, {.local = {"head"}}), HasSubstr("beside peft.head"));
}

TEST(ViewTest, LayersKeepTheOthersAsTheyAre) {
  EXPECT_EQ(Letters(ViewedPlan(), {.layers = {1}}), "ffssss");
  EXPECT_EQ(Letters(ViewedPlan(), {.frozen = {"lora_a"}, .layers = {1}}), "fffsss");
  EXPECT_EQ(Letters(ViewedPlan(), {.layers = {0, 1}}), "ssssss");
  // Tables are in no layer.
  const PeftPlan full = ViewedPlan(OffsetConfig{OffsetConfig::What::kNorms});
  EXPECT_EQ(Letters(full, {.layers = {0}}), "ffssssffffss");
}

TEST(ViewTest, WhatMakesNoSenseIsRefused) {
  EXPECT_THAT(Letters(ViewedPlan(), {.frozen = {"lora_c"}}),
              AllOf(HasSubstr("frozen: got \"lora_c\""), HasSubstr("lora_a, lora_b, head")));
  EXPECT_THAT(Letters(ViewedPlan(), {.local = {"lora"}}), HasSubstr("local: got \"lora\", want some of"));
  EXPECT_THAT(Letters(ViewedPlan(), {.local = {"head"}, .frozen = {"head"}}),
              HasSubstr("frozen: got \"head\" a second time"));
  EXPECT_THAT(Letters(ViewedPlan(), {.local = {"lora_a", "lora_b"}, .frozen = {"head"}}),
              HasSubstr("nothing is left to share"));
  EXPECT_THAT(Letters(ViewedPlan(), {.layers = {2}}), HasSubstr("layers: got 2, want 0 to 1"));
  EXPECT_EQ(Letters(ViewedPlan(BottleneckConfig{.kind = BottleneckConfig::Kind::kPfeiffer, .size = 4, .phm_dim = 2}),
                    {.layers = {0}}),
            "fssssssffffffss");  // Compacter's rule is in no layer
  EXPECT_THAT(Letters(ViewedPlan(PrefixConfig{}), {.layers = {1}}), HasSubstr("has no tensor in these layers alone"));
  EXPECT_THAT(Letters(ViewedPlan(PromptConfig{}), {.layers = {0}}), HasSubstr("has no tensor in these layers alone"));
}

TEST(ViewTest, BelowTheLowestTrainedLayerNothingIsTrained) {
  const auto lowest = [](const PeftPlan& plan, const ViewConfig& config) {
    const auto layout = PlanLayout(plan).value();
    return UntrainedBelow(plan, *layout, PlanView(plan, *layout, config).value().train).layer;
  };
  const PeftPlan lora = ViewedPlan();
  EXPECT_EQ(lowest(lora, {}), 0u);
  EXPECT_EQ(lowest(lora, {.frozen = {"lora_a"}}), 0u);
  EXPECT_EQ(lowest(lora, {.layers = {1}}), 1u);
  EXPECT_EQ(lowest(lora, {.local = {"lora_b"}, .layers = {1}}), 1u);
  EXPECT_EQ(lowest(lora, {.frozen = {"lora_a", "lora_b"}}), 2u) << "the head alone";
  EXPECT_EQ(lowest(ViewedPlan(LoraConfig{.rank = 2, .target_modules = {"query"}, .layers = {1}}), {}), 1u);
  EXPECT_EQ(lowest(ViewedPlan(PrefixConfig{}), {}), 0u);
  EXPECT_EQ(lowest(ViewedPlan(PromptConfig{}), {}), 0u);
  EXPECT_EQ(lowest(ViewedPlan(OffsetConfig{OffsetConfig::What::kNorms}), {}), 0u) << "the embeddings' norm";
  EXPECT_EQ(lowest(ViewedPlan(OffsetConfig{OffsetConfig::What::kNorms}), {.layers = {1}}), 1u);
  EXPECT_EQ(
      lowest(ViewedPlan(BottleneckConfig{.kind = BottleneckConfig::Kind::kPfeiffer, .size = 4, .phm_dim = 2}), {}), 0u)
      << "Compacter's rule spans the layers";
}

TEST(ViewTest, TheUntrainedPartReadsTheTensorsBelowIt) {
  const auto tensors = [](const PeftPlan& plan, const ViewConfig& config) {
    const auto layout = PlanLayout(plan).value();
    return UntrainedBelow(plan, *layout, PlanView(plan, *layout, config).value().train).tensors;
  };
  using Indices = std::vector<std::size_t>;
  EXPECT_EQ(tensors(ViewedPlan(), {}), Indices());
  EXPECT_EQ(tensors(ViewedPlan(), {.layers = {1}}), Indices({0, 1}));
  EXPECT_EQ(tensors(ViewedPlan(), {.frozen = {"lora_a"}, .layers = {1}}), Indices({0, 1}));
  EXPECT_EQ(tensors(ViewedPlan(), {.frozen = {"lora_a", "lora_b"}}), Indices({0, 1, 2, 3}));
  EXPECT_EQ(tensors(ViewedPlan(PrefixConfig{}), {.frozen = {"prefix"}}), Indices({0}));
}

TEST(ViewTest, RanksAreChosenAmongWhatEverybodyShares) {
  AdaLoraConfig config;
  config.lora.rank = 2;
  config.lora.target_modules = {"query"};
  config.target_rank = 1;
  const PeftPlan plan = ViewedPlan(config);
  // Of each linear A, E, B, mask and score.
  EXPECT_EQ(Letters(plan, {}), "sssffsssffss");
  EXPECT_EQ(Letters(plan, {.local = {"head"}}), "sssffsssffll");
  EXPECT_THAT(Letters(plan, {.local = {"lora_b"}}), HasSubstr("local: leaves lora_b unshared"));
  EXPECT_THAT(Letters(plan, {.layers = {1}}), HasSubstr("layers: leaves lora_a unshared"));
  EXPECT_THAT(Letters(plan, {.frozen = {"rank_mask"}}), HasSubstr("lora_a, lora_e, lora_b, head"));
}

}  // namespace
}  // namespace fedpeft
