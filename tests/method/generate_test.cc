#include "peft/method/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/method/frozen_hook.h"
#include "peft/model/base_model.h"
#include "peft/model/load.h"
#include "peft/plan/plan.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft {
namespace {

using Ids = std::vector<std::int32_t>;
using ::testing::HasSubstr;

const Ids kPrompt = {4, 8, 15, 16};
constexpr const char* kTied = R"(, "tie_word_embeddings": true)";

std::shared_ptr<const BaseModel> Load(const std::string& config) {
  const testing::TempFolder folder;
  EXPECT_TRUE(testing::WriteTinyDecoder(folder.path(), config).ok());
  auto base = LoadBaseModel(folder.path(), BaseDtype::kFloat32);
  EXPECT_TRUE(base.ok()) << base.status().ToString();
  return std::move(base).value();
}

/// A language model with 40 positions.
std::shared_ptr<const BaseModel> LanguageModel(const std::string& more = "") {
  return Load(testing::TinyDecoderConfig("mistral", 2, kTied + more));
}

/// A plan for a language model, its parameters large enough to change the text.
struct Method {
  Method(const BaseShape& base, MethodConfig method) : plan{base, std::move(method)}, params(PlanLayout(plan).value()) {
    RandomStream stream(6, "adapter");
    for (float& value : params.values()) value = static_cast<float>(stream.NextNormal());
    hook = MakeFrozenHook(plan, params);
  }
  Adapted adapted() const { return {hook.get(), LeadOf(plan.method)}; }

  PeftPlan plan;
  ParamVector params;
  std::shared_ptr<const SiteHook> hook;
};

GenerateOptions Most(std::int64_t tokens, bool use_cache = true) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  options.use_cache = use_cache;
  return options;
}

Generated Continue(const BaseModel& base, const GenerateOptions& options, const Adapted& adapted = {}) {
  const auto generated = Generate(base, adapted, kPrompt, options);
  EXPECT_TRUE(generated.ok()) << generated.status().ToString();
  return *generated;
}

class GenerateTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GenerateTest, TheCacheChangesNothing) {
  const auto base = LanguageModel(GetParam());
  const Ids plain = Continue(*base, Most(30)).ids;
  EXPECT_EQ(Continue(*base, Most(30, false)).ids, plain);
  for (const MethodConfig& config : std::initializer_list<MethodConfig>{
           LoraConfig{.rank = 3, .target_modules = {"q_proj", "v_proj"}}, Ia3Config{}, BottleneckConfig{.size = 4},
           PrefixConfig{.length = 3}, PromptConfig{.length = 3},
           PrefixConfig{.length = 3, .encoder = TokenEncoder::kMlp}, LlamaAdapterConfig{.length = 3, .layers = 2},
           PromptConfig{.length = 3, .start = PromptConfig::Start::kText, .ids = {4, 8, 15}},
           OffsetConfig{OffsetConfig::What::kAll}}) {
    const Method method(base->shape(), config);
    const Ids adapted = Continue(*base, Most(30), method.adapted()).ids;
    EXPECT_EQ(Continue(*base, Most(30, false), method.adapted()).ids, adapted) << DescribeMethod(config);
    const bool sees_one = std::string(GetParam()).ends_with(": 1");  // and nothing that stands before it
    if (!sees_one || method.adapted().lead.positions() == 0) {
      EXPECT_NE(adapted, plain) << DescribeMethod(config);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, GenerateTest,
                         ::testing::Values(R"(, "sliding_window": null)", R"(, "sliding_window": 1)",
                                           R"(, "sliding_window": 5)"));

TEST(GenerateEndTest, StopsBehindAnyEndOfText) {
  const auto base = LanguageModel();
  const Ids all = Continue(*base, Most(10)).ids;
  const auto first = std::ranges::find(all, all[5]) - all.begin();
  GenerateOptions options = Most(10);
  options.end_ids = {49, all[5]};
  const Generated cut = Continue(*base, options);
  EXPECT_EQ(cut.ids, Ids(all.begin(), all.begin() + first + 1));
  EXPECT_EQ(cut.reason, StopReason::kEndOfText);
}

TEST(GenerateEndTest, StopsAtTheMostTokensAndAtThePositionLimit) {
  const auto base = LanguageModel();
  EXPECT_EQ(Continue(*base, Most(1)).ids.size(), 1u);
  for (const bool cache : {true, false}) {
    const Generated full = Continue(*base, Most(100, cache));
    EXPECT_EQ(full.reason, StopReason::kPositionLimit);
    EXPECT_EQ(full.ids.size(), 40 - kPrompt.size() + 1);  // the last one is never read
  }
}

TEST(GenerateEndTest, TheCallbackSeesEachTokenAndMayStop) {
  const auto base = LanguageModel();
  Ids seen;
  const auto generated = Generate(*base, {}, kPrompt, {}, [&](std::int32_t id) {
    seen.push_back(id);
    return seen.size() < 3;
  });
  ASSERT_TRUE(generated.ok());
  EXPECT_EQ(generated->ids, seen);
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(generated->reason, StopReason::kCancelled);
}

TEST(GenerateRejectTest, BasesThatPredictNoNextTokenAreNamed) {
  const testing::TempFolder folder;
  ASSERT_TRUE(testing::WriteTinyBert(folder.path()).ok());
  const auto bert = LoadBaseModel(folder.path(), BaseDtype::kFloat32);
  ASSERT_TRUE(bert.ok());
  EXPECT_THAT(CheckGenerates(**bert).message(), HasSubstr("encoder (bert)"));
  const auto headless = Load(testing::TinyDecoderConfig("llama", 1));
  EXPECT_THAT(Generate(*headless, {}, kPrompt, {}).status().message(), HasSubstr("no language-model head"));
}

TEST(GenerateRejectTest, PromptsThatDoNotFitAreRefused) {
  const auto base = LanguageModel();
  EXPECT_THAT(Generate(*base, {}, {}, {}).status().message(), HasSubstr("has 0 tokens, want 1 to 40"));
  EXPECT_THAT(Generate(*base, {}, Ids(41, 1), {}).status().message(), HasSubstr("has 41 tokens"));
  EXPECT_THAT(Generate(*base, {}, Ids{50}, {}).status().message(), HasSubstr("token id: got 50"));
  EXPECT_FALSE(Generate(*base, {}, kPrompt, Most(0)).ok());
}

}  // namespace
}  // namespace fedpeft
