#include "peft/method/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/method/adapter_hook.h"
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

/// An adapter of linears of layer 1, written and read as a folder. Its values are large enough to change the text.
Result<AdapterFolder> Adapter(const std::string& task, const std::vector<std::string>& targets,
                              std::int64_t width_of_a = 20) {
  const testing::TempFolder folder;
  RandomStream stream(6, "adapter");
  LoraAdapterConfig config;
  config.task_type = task;
  config.r = 3;
  config.target_modules = targets;
  std::map<std::string, std::pair<Shape, std::vector<float>>> tensors;
  for (const std::string& target : targets) {
    const std::string path = "model.layers.1.self_attn." + target;
    const std::int64_t out = target == "q_proj" ? 24 : 12;
    tensors[PeftName(path, "lora_A.weight")] = {{3, width_of_a}, {}};
    tensors[PeftName(path, "lora_B.weight")] = {{out, 3}, {}};
  }
  std::vector<TensorView> views;
  for (auto& [name, tensor] : tensors) {
    auto& [shape, values] = tensor;
    for (std::int64_t i = 0; i < shape[0] * shape[1]; ++i) values.push_back(static_cast<float>(stream.NextNormal()));
    views.push_back(FloatView(name, shape, values));
  }
  RETURN_IF_ERROR(WriteAdapterFolder(folder.path(), config, views));
  return ReadAdapterFolder(folder.path());
}

GenerateOptions Most(std::int64_t tokens, bool use_cache = true) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  options.use_cache = use_cache;
  return options;
}

Generated Continue(const BaseModel& base, const GenerateOptions& options, const SiteHook* hook = nullptr) {
  const auto generated = Generate(base, hook, kPrompt, options);
  EXPECT_TRUE(generated.ok()) << generated.status().ToString();
  return *generated;
}

class GenerateTest : public ::testing::TestWithParam<const char*> {};

TEST_P(GenerateTest, TheCacheChangesNothing) {
  const auto base = LanguageModel(GetParam());
  const auto adapter = Adapter("CAUSAL_LM", {"q_proj", "v_proj"});
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  const auto hook = MakeAdapterHook(*adapter, base->shape());
  ASSERT_TRUE(hook.ok()) << hook.status().ToString();
  const Ids plain = Continue(*base, Most(30)).ids;
  EXPECT_EQ(Continue(*base, Most(30, false)).ids, plain);
  const Ids adapted = Continue(*base, Most(30), hook->get()).ids;
  EXPECT_EQ(Continue(*base, Most(30, false), hook->get()).ids, adapted);
  EXPECT_NE(adapted, plain);
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
  const auto generated = Generate(*base, nullptr, kPrompt, {}, [&](std::int32_t id) {
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
  EXPECT_THAT(Generate(*headless, nullptr, kPrompt, {}).status().message(), HasSubstr("no language-model head"));
}

TEST(GenerateRejectTest, PromptsThatDoNotFitAreRefused) {
  const auto base = LanguageModel();
  EXPECT_THAT(Generate(*base, nullptr, {}, {}).status().message(), HasSubstr("has 0 tokens, want 1 to 40"));
  EXPECT_THAT(Generate(*base, nullptr, Ids(41, 1), {}).status().message(), HasSubstr("has 41 tokens"));
  EXPECT_THAT(Generate(*base, nullptr, Ids{50}, {}).status().message(), HasSubstr("token id: got 50"));
  EXPECT_FALSE(Generate(*base, nullptr, kPrompt, Most(0)).ok());
}

TEST(AdapterHookTest, AdaptersOfSomethingElseAreRefused) {
  const BaseShape shape = LanguageModel()->shape();
  const auto refusal = [&](const Result<AdapterFolder>& adapter) {
    EXPECT_TRUE(adapter.ok()) << adapter.status().ToString();
    return MakeAdapterHook(*adapter, shape).status().message();
  };
  EXPECT_THAT(refusal(Adapter("TOKEN_CLS", {"q_proj"})), HasSubstr("task_type: got TOKEN_CLS"));
  EXPECT_THAT(refusal(Adapter("", {"qkv_proj"})), HasSubstr("model.layers.1.self_attn.qkv_proj: is not a linear"));
  EXPECT_THAT(refusal(Adapter("CAUSAL_LM", {"q_proj"}, 21)), HasSubstr("lora_A"));
}

}  // namespace
}  // namespace fedpeft
