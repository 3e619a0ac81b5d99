#include "peft/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "peft/params/param_vector.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// One layer, 4 heads, 2 of keys and values where a family has that, of width 10 where it may be any.
BaseShape OneLayer(const std::string& family) {
  const bool grouped = family == "llama" || family == "qwen3";
  return {family, 32, 1, 4, 48, 50, 40, grouped ? 2 : 0, grouped ? 10 : 0};
}

PeftPlan LoraPlan(const std::string& family, std::vector<std::string> targets = {}) {
  PeftPlan plan;
  plan.base = OneLayer(family);
  plan.method = LoraConfig{.rank = 4, .alpha = 8, .dropout = 0, .target_modules = std::move(targets)};
  plan.labels = 3;
  return plan;
}

/// `name [shape]` of each tensor.
std::vector<std::string> Tensors(const PeftPlan& plan) {
  const auto layout = PlanLayout(plan);
  EXPECT_TRUE(layout.ok()) << layout.status().ToString();
  std::vector<std::string> lines;
  for (const TensorSpec& spec : (*layout)->tensors()) lines.push_back(spec.name + " " + ShapeText(spec.shape));
  return lines;
}

TEST(PlanTest, HeadsHaveTheNamesOfTheirTaskModel) {
  const std::string base = "base_model.model.";
  const auto heads = [](const std::string& family) {
    std::vector<std::string> lines = Tensors(LoraPlan(family));
    std::erase_if(lines, [](const std::string& line) { return line.find("lora_") != std::string::npos; });
    return lines;
  };
  EXPECT_THAT(heads("bert"), ElementsAre(base + "classifier.weight [3,32]", base + "classifier.bias [3]"));
  EXPECT_THAT(heads("roberta"),
              ElementsAre(base + "classifier.dense.weight [32,32]", base + "classifier.dense.bias [32]",
                          base + "classifier.out_proj.weight [3,32]", base + "classifier.out_proj.bias [3]"));
  EXPECT_THAT(heads("distilbert"),
              ElementsAre(base + "pre_classifier.weight [32,32]", base + "pre_classifier.bias [32]",
                          base + "classifier.weight [3,32]", base + "classifier.bias [3]"));
  for (const char* decoder : {"gpt2", "llama", "qwen3"}) {
    EXPECT_THAT(heads(decoder), ElementsAre(base + "score.weight [3,32]"));
  }
  EXPECT_THAT(HeadModules(OneLayer("roberta")), ElementsAre("classifier"));
  EXPECT_THAT(HeadModules(OneLayer("distilbert")), ElementsAre("pre_classifier", "classifier"));
}

TEST(PlanTest, GroupedAttentionHasNarrowKeys) {
  const std::string layer = "base_model.model.model.layers.0.self_attn.";
  const std::vector<std::string> tensors = Tensors(LoraPlan("llama", {"q_proj", "k_proj", "o_proj"}));
  EXPECT_THAT(tensors, ElementsAre(layer + "q_proj.lora_A.weight [4,32]", layer + "q_proj.lora_B.weight [40,4]",
                                   layer + "k_proj.lora_A.weight [4,32]", layer + "k_proj.lora_B.weight [20,4]",
                                   layer + "o_proj.lora_A.weight [4,40]", layer + "o_proj.lora_B.weight [32,4]",
                                   "base_model.model.score.weight [3,32]"));
}

TEST(PlanTest, TargetsLeftOutAreTheFamilys) {
  const auto paths = [](const std::string& family) {
    const auto sites = AdaptedLinears(LoraPlan(family));
    EXPECT_TRUE(sites.ok()) << sites.status().ToString();
    std::vector<std::string> names;
    for (const Site& site : *sites) names.push_back(site.path);
    return names;
  };
  EXPECT_THAT(paths("distilbert"), ElementsAre("distilbert.transformer.layer.0.attention.q_lin",
                                               "distilbert.transformer.layer.0.attention.v_lin"));
  EXPECT_THAT(paths("gpt2"), ElementsAre("transformer.h.0.attn.c_attn"));
  EXPECT_THAT(paths("qwen3"), ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"));
}

TEST(PlanTest, AWordThatNamesAHeadTooIsExportedAsPaths) {
  EXPECT_THAT(PeftTargets(LoraPlan("bert", {"dense"}), {"dense"}), ElementsAre("dense"));
  const std::string layer = "roberta.encoder.layer.0.";
  EXPECT_THAT(PeftTargets(LoraPlan("roberta", {"dense"}), {"dense"}),
              ElementsAre(layer + "attention.output.dense", layer + "intermediate.dense", layer + "output.dense"));
}

TEST(PlanTest, UnknownTargetsAreRefusedWithThoseThereAre) {
  EXPECT_THAT(AdaptedLinears(LoraPlan("gpt2", {"query"})).status().message(),
              HasSubstr("known names: c_attn, c_fc, c_proj"));
}

PeftPlan With(const std::string& family, MethodConfig method, std::int64_t labels = 0) {
  PeftPlan plan = LoraPlan(family);
  plan.method = std::move(method);
  plan.labels = labels;
  return plan;
}

std::string Refusal(const PeftPlan& plan) {
  return PlanLayout(plan).status().message();
}

TEST(MethodPlanTest, LinearsMayHaveARankAndAnAlphaOfTheirOwn) {
  const LoraConfig lora{.rank = 4, .alpha = 8, .target_modules = {"q_proj", "v_proj"}, .patterns = {{"v_proj", 2, 6}}};
  const auto sites = LoraSites(OneLayer("llama"), lora).value();
  ASSERT_THAT(sites, SizeIs(2));
  EXPECT_EQ(sites[0].rank, 4);
  EXPECT_EQ(sites[0].scale, 2);
  EXPECT_EQ(sites[1].rank, 2);
  EXPECT_EQ(sites[1].scale, 3);
  LoraConfig root = lora;
  root.use_rslora = true;
  EXPECT_EQ(LoraSites(OneLayer("llama"), root).value()[0].scale, 4);
  LoraConfig twice = lora;
  twice.patterns.push_back({"self_attn.v_proj", 3, 0});
  EXPECT_THAT(Refusal(With("llama", twice)),
              HasSubstr("peft.lora.patterns.1.module: \"self_attn.v_proj\" is a second"));
  LoraConfig lost = lora;
  lost.patterns = {{"k_proj", 2, 0}};
  EXPECT_THAT(Refusal(With("llama", lost)), HasSubstr("matches none of the adapted linears"));
}

TEST(MethodPlanTest, AdaLoraComplainsByItsOwnKeys) {
  const auto refusal = [](LoraConfig lora) {
    return Refusal(With("llama", AdaLoraConfig{.lora = std::move(lora), .target_rank = 1}));
  };
  EXPECT_THAT(refusal({.rank = 41, .target_modules = {"q_proj"}}),
              HasSubstr("peft.adalora.initial_rank: got 41, want at most 40"));
  EXPECT_THAT(refusal({.dropout = 1}), HasSubstr("peft.adalora.dropout: got 1"));
  EXPECT_THAT(refusal({.target_modules = {"query"}}), HasSubstr("peft.adalora.target_modules: "));
}

TEST(MethodPlanTest, AllLinearsLeaveTheHeadOut) {
  EXPECT_THAT(AdaptedLinears(LoraPlan("roberta", {"all-linear"})).value(), SizeIs(6));
  EXPECT_THAT(AdaptedLinears(LoraPlan("bert", {"all-linear"})).value(), SizeIs(7));  // the pooler too
}

TEST(MethodPlanTest, LayersAreThoseOfTheBase) {
  EXPECT_THAT(Refusal(With("llama", LoraConfig{.layers = {1}})), HasSubstr("peft.lora.layers: got 1, want 0 to 0"));
  EXPECT_THAT(Refusal(With("bert", LoraConfig{.target_modules = {"pooler.dense"}, .layers = {0}})),
              HasSubstr("no target is in one of these layers"));
}

TEST(MethodPlanTest, TensorsHaveTheShapesOfPeft) {
  const std::string layer = "base_model.model.model.layers.0.";
  EXPECT_THAT(Tensors(With("llama", Ia3Config{})),
              ElementsAre(layer + "self_attn.k_proj.ia3_l [20,1]", layer + "self_attn.v_proj.ia3_l [20,1]",
                          layer + "mlp.down_proj.ia3_l [1,48]"));
  EXPECT_THAT(Tensors(With("llama", PrefixConfig{3})), ElementsAre("prompt_embeddings [3,40]"));
  EXPECT_THAT(Tensors(With("llama", PromptConfig{3}, 2)),
              ElementsAre("prompt_embeddings [3,32]", "base_model.score.weight [2,32]"));
  EXPECT_THAT(Tensors(With("llama", OffsetConfig{OffsetConfig::What::kNorms})),
              ElementsAre(layer + "input_layernorm.weight [32]", layer + "post_attention_layernorm.weight [32]",
                          "base_model.model.model.norm.weight [32]"));
  EXPECT_THAT(Tensors(With("bert", BottleneckConfig{.kind = BottleneckConfig::Kind::kParallel, .size = 5})), SizeIs(4));
}

TEST(MethodPlanTest, CompactersShareOneRule) {
  const std::string down = "base_model.model.model.layers.0.mlp.down_proj.";
  const BottleneckConfig config{.kind = BottleneckConfig::Kind::kPfeiffer, .size = 12, .phm_dim = 4, .phm_rank = 2};
  EXPECT_THAT(
      Tensors(With("llama", config)),
      ElementsAre("base_model.model.shared_parameters.phm_rule [4,4,4]", down + "adapter_down.W_left [4,8,2]",
                  down + "adapter_down.W_right [4,2,3]", down + "adapter_down.b [12]",
                  down + "adapter_up.W_left [4,3,2]", down + "adapter_up.W_right [4,2,8]", down + "adapter_up.b [32]"));
  EXPECT_THAT(Tensors(With("llama", BottleneckConfig{.size = 12, .phm_dim = 4})), SizeIs(1 + 2 * 6));
  const auto refusal = [](std::int64_t size, std::int64_t dim, std::int64_t rank) {
    return Refusal(With("llama", BottleneckConfig{.size = size, .phm_dim = dim, .phm_rank = rank}));
  };
  EXPECT_THAT(refusal(6, 4, 1), HasSubstr("peft.adapter.phm_dim: got 4, want a divisor of 32 (base.hidden_size) and of "
                                          "6 (peft.adapter.size)"));
  EXPECT_THAT(refusal(6, 3, 1), HasSubstr("peft.adapter.phm_dim: got 3"));
  EXPECT_THAT(refusal(6, -2, 1), HasSubstr("peft.adapter.phm_dim: got -2"));
  EXPECT_THAT(refusal(8, 4, 9), HasSubstr("peft.adapter.phm_rank: got 9, want 1 to 8"));
  EXPECT_THAT(refusal(8, 4, 0), HasSubstr("peft.adapter.phm_rank: got 0, want 1 to 8"));
}

TEST(MethodPlanTest, AMaskIsAsManyDistinctElementsInOrder) {
  const SparseConfig config{.density = 0.1, .target_modules = {"query", "output.dense"}, .seed = 3};
  EXPECT_THAT(Tensors(With("bert", config)),
              ElementsAre("base_model.model.bert.encoder.layer.0.attention.self.query.sparse_values [102]",
                          "base_model.model.bert.encoder.layer.0.attention.output.dense.sparse_values [102]",
                          "base_model.model.bert.encoder.layer.0.output.dense.sparse_values [154]"));
  const auto sites = SparseSites(OneLayer("bert"), config).value();
  const std::vector<std::int64_t> mask = SparseMask(sites[0], 3);
  ASSERT_THAT(mask, SizeIs(102));
  EXPECT_EQ(std::adjacent_find(mask.begin(), mask.end(), std::greater_equal<>()), mask.end());
  EXPECT_GE(mask.front(), 0);
  EXPECT_LT(mask.back(), 32 * 32);
  EXPECT_EQ(SparseMask(sites[0], 3), mask);
  EXPECT_NE(SparseMask(sites[0], 4), mask);
  EXPECT_NE(SparseMask(sites[1], 3), mask);
}

TEST(MethodPlanTest, MasksMayBeEverythingAndAreNeverNothing) {
  const auto whole = SparseSites(OneLayer("bert"), SparseConfig{.density = 1}).value();
  EXPECT_THAT(whole, SizeIs(7));
  std::vector<std::int64_t> all(32 * 48);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(SparseMask(whole[4], 1), all);
  EXPECT_EQ(SparseSites(OneLayer("bert"), SparseConfig{.density = 1e-9}).value()[0].chosen, 1);
  EXPECT_THAT(Refusal(With("bert", SparseConfig{.density = 0})), HasSubstr("peft.sparse.density: got 0.0"));
  EXPECT_THAT(Refusal(With("bert", SparseConfig{.density = 1.5})), HasSubstr("want above 0, at most 1"));
  EXPECT_THAT(Refusal(With("bert", SparseConfig{.density = NAN})), HasSubstr("peft.sparse.density"));
  EXPECT_THAT(Refusal(With("bert", SparseConfig{.target_modules = {"q_proj"}})),
              HasSubstr("peft.sparse.target_modules: \"q_proj\" matches no linear"));
}

/// Every element is as likely: 2000 masks of 3 of 12, each element's count within 5 standard deviations of 500.
TEST(MethodPlanTest, MasksAreFair) {
  const SparseSite site{{.path = "l", .in = 3, .out = 4}, 3};
  std::vector<int> counts(12);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    for (const std::int64_t at : SparseMask(site, seed)) ++counts[static_cast<std::size_t>(at)];
  }
  for (const int count : counts) EXPECT_NEAR(count, 500, 5 * std::sqrt(2000 * 0.25 * 0.75));
}

TEST(MethodPlanTest, EncodersHaveTheTensorsOfPeft) {
  const std::string encoder = "prompt_encoder.";
  EXPECT_THAT(Tensors(With("llama", PrefixConfig{.length = 3, .encoder = TokenEncoder::kMlp, .encoder_size = 7})),
              ElementsAre(encoder + "embedding.weight [3,20]", encoder + "transform.0.weight [7,20]",
                          encoder + "transform.0.bias [7]", encoder + "transform.2.weight [40,7]",
                          encoder + "transform.2.bias [40]"));
  EXPECT_THAT(Tensors(With("llama", PromptConfig{.length = 3, .encoder = TokenEncoder::kMlp}, 2)),
              ElementsAre(encoder + "embedding.weight [3,32]", encoder + "mlp_head.0.weight [32,32]",
                          encoder + "mlp_head.0.bias [32]", encoder + "mlp_head.2.weight [32,32]",
                          encoder + "mlp_head.2.bias [32]", encoder + "mlp_head.4.weight [32,32]",
                          encoder + "mlp_head.4.bias [32]", "base_model.score.weight [2,32]"));
  const auto layout = PlanLayout(With("llama", PromptConfig{.length = 3, .encoder = TokenEncoder::kMlp})).value();
  const ParamVector start = ParamVector::Initial(layout, 1);
  EXPECT_EQ(layout->tensors()[1].algebra(), Algebra::kBilinear);
  EXPECT_LE(std::ranges::max(start.tensor(2)), 1 / std::sqrt(32.0f));  // a bias, which torch starts as the weight
  EXPECT_GT(std::ranges::max(start.tensor(0)), 1);
}

TEST(MethodPlanTest, APromptFromTokensTravelsAsAnOffset) {
  const auto layout =
      PlanLayout(With("bert", PromptConfig{.length = 3, .start = PromptConfig::Start::kText, .text = "a"})).value();
  EXPECT_EQ(layout->tensors()[0].name, "prompt_embeddings");
  EXPECT_EQ(layout->tensors()[0].role, Role::kPromptOffset);
  EXPECT_EQ(layout->tensors()[0].init.kind, InitLaw::Kind::kZeros);
}

TEST(MethodPlanTest, LlamaAdapterLeavesTheFirstTwoLayersAlone) {
  const auto layers = [](std::int64_t all, std::int64_t top) {
    PeftPlan plan = With("gpt2", LlamaAdapterConfig{.length = 3, .layers = top});
    plan.base.num_hidden_layers = all;
    return Tensors(plan);
  };
  const auto layer = [](int index) { return "base_model.model.transformer.h." + std::to_string(index) + ".attn."; };
  EXPECT_THAT(layers(4, 0), ElementsAre(layer(2) + "adaption_prompt [1,3,32]", layer(2) + "adaption_gate [1]",
                                        layer(3) + "adaption_prompt [1,3,32]", layer(3) + "adaption_gate [1]"));
  EXPECT_THAT(layers(4, 1), ElementsAre(layer(3) + "adaption_prompt [1,3,32]", layer(3) + "adaption_gate [1]"));
  EXPECT_THAT(layers(1, 0), SizeIs(2));
  EXPECT_THAT(layers(4, 4), SizeIs(8));
}

TEST(MethodPlanTest, TheWholeBaseNeedsToKnowAllOfIt) {
  PeftPlan plan = With("bert", OffsetConfig{OffsetConfig::What::kAll}, 2);
  EXPECT_THAT(Refusal(plan), HasSubstr("base.type_vocab_size: is missing"));
  plan.base.type_vocab_size = 2;
  EXPECT_TRUE(PlanLayout(plan).ok());
  // The head that predicts is trained for text, and there is none of its own where it is tied.
  const auto has_head = [](const PeftPlan& text) {
    return PlanLayout(text).value()->Find("base_model.model.lm_head.weight").has_value();
  };
  PeftPlan text = With("llama", OffsetConfig{OffsetConfig::What::kAll});
  EXPECT_TRUE(has_head(text));
  text.base.tie_word_embeddings = true;
  EXPECT_FALSE(has_head(text));
}

TEST(MethodPlanTest, WhatMakesNoSenseSaysWhy) {
  EXPECT_THAT(Refusal(With("llama", OffsetConfig{})), HasSubstr("have no biases"));
  EXPECT_THAT(Refusal(With("bert", BottleneckConfig{.size = 33})),
              HasSubstr("peft.adapter.size: got 33, want 1 to 32"));
  EXPECT_THAT(Refusal(With("bert", PromptConfig{40})), HasSubstr("peft.prompt.length: got 40, want 1 to 39"));
  EXPECT_THAT(Refusal(With("bert", PrefixConfig{0})), HasSubstr("peft.prefix.length: got 0"));
  EXPECT_THAT(Refusal(With("bert", PrefixConfig{.encoder_size = -1})), HasSubstr("peft.prefix.encoder_size: got -1"));
  EXPECT_THAT(Refusal(With("bert", PromptConfig{.encoder = TokenEncoder::kMlp, .start = PromptConfig::Start::kText})),
              HasSubstr("peft.prompt.encoder: got mlp"));
  const auto encoder = PlanLayout(With("bert", LlamaAdapterConfig{}));
  EXPECT_EQ(encoder.status().code(), Code::kFailedPrecondition);
  EXPECT_THAT(encoder.status().message(), HasSubstr("this bert base is an encoder"));
  EXPECT_THAT(Refusal(With("llama", LlamaAdapterConfig{.length = 0})), HasSubstr("peft.llama_adapter.length: got 0"));
  EXPECT_THAT(Refusal(With("llama", LlamaAdapterConfig{.layers = 2})),
              HasSubstr("peft.llama_adapter.layers: got 2, want 0 to 1"));
  EXPECT_THAT(Refusal(With("bert", Ia3Config{{"key"}, {"value"}})), HasSubstr("attention.self.value is not among"));
  const auto all = Ia3Sites(OneLayer("bert"), Ia3Config{{"query", "output.dense"}, {"all-linear"}});
  EXPECT_THAT(all.status().message(), HasSubstr("is not among"));
  EXPECT_TRUE(Ia3Sites(OneLayer("bert"), Ia3Config{{"all-linear"}, {"all-linear"}}).value()[0].scales_input);
  EXPECT_THAT(Refusal(With("bert", LoraConfig{.patterns = {{"query", 0, 0}}})),
              HasSubstr("neither a rank nor an alpha"));
  EXPECT_THAT(Refusal(With("bert", Ia3Config{{}, {"value"}})), HasSubstr("without target_modules"));
}

TEST(SitesTest, SayWhereEachMethodMayAttach) {
  const BaseSites llama = SitesOf(OneLayer("llama"));
  EXPECT_EQ(llama.tables[0].path, "model.embed_tokens");
  ASSERT_THAT(llama.attentions, SizeIs(1));
  EXPECT_EQ(llama.attentions[0].path, "model.layers.0.self_attn");
  EXPECT_EQ(llama.attentions[0].kv_heads, 2);
  EXPECT_EQ(llama.attentions[0].width, 10);
  EXPECT_THAT(llama.linears, SizeIs(7));
  EXPECT_FALSE(llama.linears[0].transposed);
  EXPECT_TRUE(SitesOf(OneLayer("gpt2")).linears[0].transposed);
  EXPECT_EQ(SitesOf(OneLayer("gpt2")).linears[0].out, 96);
}

}  // namespace
}  // namespace fedpeft
