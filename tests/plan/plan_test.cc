#include "peft/plan/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// One layer, 4 heads, 2 of keys and values where a family has that, of width 10 where it may be any.
BaseShape Shape(const std::string& family) {
  const bool grouped = family == "llama" || family == "qwen3";
  return {family, 32, 1, 4, 48, 50, 40, grouped ? 2 : 0, grouped ? 10 : 0};
}

PeftPlan Plan(const std::string& family, std::vector<std::string> targets = {}) {
  PeftPlan plan;
  plan.base = Shape(family);
  plan.lora = {.rank = 4, .alpha = 8, .dropout = 0, .target_modules = std::move(targets)};
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
    std::vector<std::string> lines = Tensors(Plan(family));
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
  EXPECT_THAT(HeadModules(Shape("roberta")), ElementsAre("classifier"));
  EXPECT_THAT(HeadModules(Shape("distilbert")), ElementsAre("pre_classifier", "classifier"));
}

TEST(PlanTest, GroupedAttentionHasNarrowKeys) {
  const std::string layer = "base_model.model.model.layers.0.self_attn.";
  const std::vector<std::string> tensors = Tensors(Plan("llama", {"q_proj", "k_proj", "o_proj"}));
  EXPECT_THAT(tensors, ElementsAre(layer + "q_proj.lora_A.weight [4,32]", layer + "q_proj.lora_B.weight [40,4]",
                                   layer + "k_proj.lora_A.weight [4,32]", layer + "k_proj.lora_B.weight [20,4]",
                                   layer + "o_proj.lora_A.weight [4,40]", layer + "o_proj.lora_B.weight [32,4]",
                                   "base_model.model.score.weight [3,32]"));
}

TEST(PlanTest, TargetsLeftOutAreTheFamilys) {
  const auto paths = [](const std::string& family) {
    const auto sites = LoraSites(Plan(family));
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
  EXPECT_THAT(PeftTargets(Plan("bert", {"dense"})), ElementsAre("dense"));
  const std::string layer = "roberta.encoder.layer.0.";
  EXPECT_THAT(PeftTargets(Plan("roberta", {"dense"})),
              ElementsAre(layer + "attention.output.dense", layer + "intermediate.dense", layer + "output.dense"));
}

TEST(PlanTest, UnknownTargetsAreRefusedWithThoseThereAre) {
  EXPECT_THAT(LoraSites(Plan("gpt2", {"query"})).status().message(), HasSubstr("known names: c_attn, c_fc, c_proj"));
}

TEST(SitesTest, SayWhereEachMethodMayAttach) {
  const BaseSites llama = SitesOf(Shape("llama"));
  EXPECT_EQ(llama.embedding.path, "model.embed_tokens");
  ASSERT_THAT(llama.attentions, SizeIs(1));
  EXPECT_EQ(llama.attentions[0].path, "model.layers.0.self_attn");
  EXPECT_EQ(llama.attentions[0].kv_heads, 2);
  EXPECT_EQ(llama.attentions[0].width, 10);
  EXPECT_THAT(llama.linears, SizeIs(7));
  EXPECT_FALSE(llama.linears[0].transposed);
  EXPECT_TRUE(SitesOf(Shape("gpt2")).linears[0].transposed);
  EXPECT_EQ(SitesOf(Shape("gpt2")).linears[0].out, 96);
}

}  // namespace
}  // namespace fedpeft
