#include "client/activations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <cstring>

#include "client/trainer.h"
#include "peft/method/bound_params.h"
#include "peft/method/hook.h"
#include "peft/model/load.h"
#include "tests/client/texts.h"
#include "tests/privacy/random.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft::client {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPlenty = std::uint64_t{1} << 30;

bool SameBits(const ParamVector& a, const ParamVector& b) {
  return std::memcmp(a.values().data(), b.values().data(), a.values().size_bytes()) == 0;
}

/// Every tensor of the method away from its start, so that frozen branches matter.
ParamVector Shaken(const std::shared_ptr<const ParamLayout>& layout, std::uint64_t seed = 1) {
  ParamVector params = ParamVector::Initial(layout, seed);
  RandomStream stream(seed, "shaken");
  for (float& value : params.values()) value += static_cast<float>(0.1 * stream.NextNormal());
  return params;
}

class ActivationsTest : public ::testing::Test {
 protected:
  void UseBert(BaseDtype dtype = BaseDtype::kFloat32) {
    ASSERT_TRUE(testing::WriteTinyBert(folder_.path()).ok());
    base_ = LoadBaseModel(folder_.path(), dtype).value();
    run_.plan = testing::TinyPlan();
    run_.train.batch_size = 8;
    layout_ = PlanLayout(run_.plan).value();
    examples_ = Texts();
  }
  /// Three layers, and texts of one to three documents.
  void UseDecoder() {
    const std::string config = testing::TinyDecoderConfig("llama", 3, R"(, "tie_word_embeddings": true)");
    ASSERT_TRUE(testing::WriteTinyDecoder(folder_.path(), config).ok());
    base_ = LoadBaseModel(folder_.path(), BaseDtype::kFloat32).value();
    run_.plan = PeftPlan{ReadBaseConfig(config)->shape, LoraConfig{.rank = 2, .target_modules = {"q_proj", "v_proj"}}};
    run_.problem.type = ProblemType::kLanguageModelling;
    run_.train.batch_size = 4;
    layout_ = PlanLayout(run_.plan).value();
    for (std::uint32_t i = 0; i < 11; ++i) {
      Example example;
      for (std::uint32_t document = 0; document <= i % 3; ++document) {
        const std::uint32_t length = 3 + (5 * i + 2 * document) % 9;
        example.documents.push_back({length, document});
        for (std::uint32_t t = 0; t < length; ++t) example.ids.push_back(static_cast<std::int32_t>(5 + (i + t) % 7));
      }
      examples_.push_back(example);
    }
  }
  void UseViews(std::vector<ViewConfig> views) {
    PhaseSpec phase;
    phase.rounds = 4;
    phase.views = std::move(views);
    run_.schedule = {phase};
  }

  std::unique_ptr<LocalTrainer> MakeTrainer(std::uint64_t most_bytes) const {
    auto trainer = LocalTrainer::Make(base_, run_, layout_).value();
    trainer->KeepActivations(most_bytes);
    return trainer;
  }
  /// What two rounds make of `start`.
  ParamVector Trained(LocalTrainer& trainer, const ParamVector& start) const {
    ParamVector params = start.Clone();
    for (const std::uint32_t round : {1, 2}) {
      const auto stats = trainer.TrainRound(params, examples_, {.learning_rate = 0.01, .round = round, .client = "a"});
      EXPECT_TRUE(stats.ok()) << stats.status().ToString();
    }
    return params;
  }
  void ExpectAlike(double within) const {
    const auto plain = MakeTrainer(0), keeping = MakeTrainer(kPlenty);
    for (const std::uint64_t seed : {1, 2}) {  // other frozen values than those of what is kept
      const ParamVector start = Shaken(layout_, seed);
      const ParamVector want = Trained(*plain, start), got = Trained(*keeping, start);
      EXPECT_FALSE(SameBits(want, start));
      for (std::size_t i = 0; i < layout_->size(); ++i) ASSERT_NEAR(got.values()[i], want.values()[i], within) << i;
      for (int time = 0; time < 2; ++time) {
        const auto wanted = plain->Evaluate(want, examples_), found = keeping->Evaluate(want, examples_);
        ASSERT_TRUE(wanted.ok() && found.ok());
        EXPECT_NEAR(found->totals.GetReal(sum::kLoss), wanted->totals.GetReal(sum::kLoss), 100 * within);
      }
    }
  }
  /// What enters `layer` from examples, in batches of three, equals what passes through the whole base.
  void ExpectSameAbove(std::size_t layer, bool in_file) const {
    const torch::NoGradGuard no_gradients;
    const ParamVector params = Shaken(layout_);
    const BoundParams bound(params);
    const auto hook = MakeHook(run_.plan, *layout_, bound.tensors());
    const LowerModel lower{*base_, *hook, layer, {}, 5, 1000};
    const auto kept = Activations::Compute(lower, examples_, in_file);
    ASSERT_TRUE(kept.ok()) << kept.status().ToString();
    for (const std::vector<std::uint32_t>& rows : {std::vector<std::uint32_t>{7, 0, 3}, {1}, {10, 9, 8, 2}}) {
      ExampleBatch batch = PackRows(examples_, rows, base_->limits(), {}).value();
      const bool pooled = run_.problem.type == ProblemType::kClassification;
      const auto above = [&] {
        return pooled ? base_->Pool(batch.packed, *hook, {}) : base_->Hidden(batch.packed, *hook, {});
      };
      const torch::Tensor want = above();
      kept->Enter(batch);
      EXPECT_TRUE(torch::allclose(above(), want, 1e-5, 1e-5)) << layer;
      EXPECT_EQ(batch.packed.entry->layer, layer);
    }
  }

  testing::TempFolder folder_;
  RunSpec run_;
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
  std::vector<Example> examples_;
};

TEST_F(ActivationsTest, EnteringAnyLayerOfAnEncoderEqualsTheWholeBase) {
  UseBert();
  for (const std::size_t layer : {0, 1, 2}) {
    for (const bool in_file : {false, true}) ExpectSameAbove(layer, in_file);
  }
}

TEST_F(ActivationsTest, EnteringAnyLayerOfADecoderEqualsTheWholeBase) {
  UseDecoder();
  for (const std::size_t layer : {0, 1, 2}) {
    for (const bool in_file : {false, true}) ExpectSameAbove(layer, in_file);
  }
}

TEST_F(ActivationsTest, TrainingOfTopLayersOrTheHeadIsAsWithout) {
  UseBert();
  for (const ViewConfig& view : {ViewConfig{.layers = {1}}, ViewConfig{.frozen = {"lora_a", "lora_b"}}}) {
    UseViews({view});
    ExpectAlike(1e-5);
  }
}

TEST_F(ActivationsTest, TrainingOfADecodersTopLayerIsAsWithout) {
  UseDecoder();
  UseViews({{.layers = {2}}});
  ExpectAlike(1e-5);
}

TEST_F(ActivationsTest, RoundsOfOtherLayersThanTheKeptAreAsWithout) {
  UseBert();
  UseViews({{.layers = {1}}, {.layers = {0}}});  // the second round changes what is below the first one's
  ExpectAlike(1e-5);
}

TEST_F(ActivationsTest, ExampleLevelPrivacyIsAsWithout) {
  UseBert();
  UseViews({{.layers = {1}}});
  run_.privacy.mechanism = PrivacySpec::Mechanism::kExampleLevel;
  run_.privacy.clip = 0.5;
  run_.privacy.noise_multiplier = 1;
  const auto trained = [&](std::uint64_t most_bytes) {
    ParamVector params = Shaken(layout_);
    testing::SeededRandom random(5);
    const auto stats =
        MakeTrainer(most_bytes)
            ->TrainRound(params, examples_, {.learning_rate = 0.01, .round = 1, .client = "a", .random = &random});
    EXPECT_TRUE(stats.ok()) << stats.status().ToString();
    return params;
  };
  const ParamVector want = trained(0), got = trained(kPlenty);
  for (std::size_t i = 0; i < layout_->size(); ++i) ASSERT_NEAR(got.values()[i], want.values()[i], 1e-5) << i;
}

TEST_F(ActivationsTest, NothingIsKeptWhereItWouldChangeOrNotFit) {
  UseBert();
  const ParamVector start = Shaken(layout_);
  const auto expect_same_bits = [&](std::uint64_t most_bytes) {
    EXPECT_TRUE(SameBits(Trained(*MakeTrainer(most_bytes), start), Trained(*MakeTrainer(0), start)));
  };
  expect_same_bits(kPlenty);  // all layers are trained
  UseViews({{.layers = {1}}});
  expect_same_bits(100);
  run_.train.base_dropout = 0.1;
  expect_same_bits(kPlenty);
  run_.train.base_dropout = 0;
  std::get<LoraConfig>(run_.plan.method).dropout = 0.1;
  expect_same_bits(kPlenty);
  std::get<LoraConfig>(run_.plan.method).dropout = 0;
  run_.train.epochs = 0;  // fewer steps than an epoch has: most would be computed for nothing
  run_.train.steps = 2;
  expect_same_bits(kPlenty);
}

TEST_F(ActivationsTest, InTheStoreTheFirstComeStayUntilTheyBelongToAnotherModel) {
  UseBert();
  const ParamVector params = Shaken(layout_);
  const BoundParams bound(params);
  const auto hook = MakeHook(run_.plan, *layout_, bound.tensors());
  const LowerModel lower{*base_, *hook, 1, {}, 4, 1000};
  const std::span<const Example> all(examples_);
  const auto part = [&](std::size_t i) { return all.subspan(10 * i, 10); };
  std::uint64_t most = 0;
  for (const std::size_t i : {0, 1, 2}) most = std::max(most, Activations::Bytes(lower, part(i)));
  ActivationStore store(2 * most);
  const auto of = [&](std::size_t i) { return store.Of(lower, part(i)).value(); };
  const Activations* first = of(0);
  ASSERT_NE(first, nullptr);
  EXPECT_NE(of(1), nullptr);
  EXPECT_EQ(of(2), nullptr) << "there is no room";
  EXPECT_EQ(store.Of(lower, all).value(), nullptr);
  EXPECT_EQ(of(0), first);
  LowerModel others = lower;
  others.values_digest[0] = 1;
  EXPECT_NE(store.Of(others, part(2)).value(), nullptr);
  EXPECT_NE(store.Of(others, part(0)).value(), nullptr);
  EXPECT_EQ(store.Of(others, part(1)).value(), nullptr);
  EXPECT_FALSE(ActivationStore(0).on());
}

TEST_F(ActivationsTest, StopsBeforeABatch) {
  UseBert();
  UseViews({{.layers = {1}}});
  const std::atomic<bool> stop = true;
  const auto trainer = MakeTrainer(kPlenty);
  ParamVector params = Shaken(layout_);
  EXPECT_EQ(trainer->Evaluate(params, examples_, &stop).status().message(), "activations: was stopped");
  const auto trained =
      trainer->TrainRound(params, examples_, {.learning_rate = 0.01, .round = 1, .client = "a"}, &stop);
  EXPECT_EQ(trained.status().message(), "activations: was stopped");
}

/// The head is trained first, and virtual tokens stay: they are in front of every sequence, in all layers.
TEST_F(ActivationsTest, FrozenVirtualTokensAreAsWithout) {
  UseBert();
  for (const auto& [method, part] : std::vector<std::pair<MethodConfig, std::string>>{
           {PrefixConfig{.length = 3}, "prefix"}, {PromptConfig{.length = 3}, "prompt"}}) {
    run_.plan.method = method;
    layout_ = PlanLayout(run_.plan).value();
    UseViews({{.frozen = {part}}});
    ExpectAlike(1e-5);
  }
}

TEST_F(ActivationsTest, TrainingOnWhatAnEvaluationKeptIsAsWithout) {
  UseBert();
  UseViews({{.layers = {1}}});
  const auto plain = MakeTrainer(0), keeping = MakeTrainer(kPlenty);
  const ParamVector start = Shaken(layout_);
  ASSERT_TRUE(keeping->Evaluate(start, examples_).ok());
  const ParamVector want = Trained(*plain, start), got = Trained(*keeping, start);
  for (std::size_t i = 0; i < layout_->size(); ++i) ASSERT_NEAR(got.values()[i], want.values()[i], 1e-5) << i;
}

TEST_F(ActivationsTest, AFolderForFilesThatIsNotThereIsAnError) {
  UseBert();
  const ParamVector params = Shaken(layout_);
  const BoundParams bound(params);
  const auto hook = MakeHook(run_.plan, *layout_, bound.tensors());
  setenv("TMPDIR", (folder_.path() + "/missing").c_str(), 1);
  const auto kept = Activations::Compute({*base_, *hook, 1, {}, 4, 1000}, examples_, /*in_file=*/true);
  unsetenv("TMPDIR");
  ASSERT_FALSE(kept.ok());
  EXPECT_THAT(kept.status().message(), HasSubstr("TMPDIR"));
}

TEST_F(ActivationsTest, Bfloat16BasesKeepTheirType) {
  UseBert(BaseDtype::kBfloat16);
  UseViews({{.layers = {1}}});
  ExpectAlike(2e-2);
}

}  // namespace
}  // namespace fedpeft::client
