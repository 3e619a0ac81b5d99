// Training under example-level differential privacy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "client/trainer.h"
#include "configs/privacy.h"
#include "peft/io/safetensors.h"
#include "peft/model/load.h"
#include "peft/plan/ranks.h"
#include "privacy/noise/random_bits.h"
#include "tests/client/texts.h"
#include "tests/privacy/random.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft::client {
namespace {

using ::testing::HasSubstr;

constexpr double kNoClip = 1e3, kAlmostNoNoise = 1e-10;

struct Noise {
  double clip = 1;
  double noise_multiplier = 1;
};

class ExamplePrivacyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::WriteTinyBert(folder_.path()).ok());
    run_.plan = testing::TinyPlan();
    run_.train.optimizer = TrainSpec::Optimizer::kSgd;
    run_.train.batch_size = 40;
    run_.train.epochs = 0;
    run_.train.steps = 1;
    Load();
  }
  /// The base and the layout of what the folder and the run are now.
  void Load() {
    auto base = LoadBaseModel(folder_.path(), BaseDtype::kFloat32);
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_ = *base;
    layout_ = PlanLayout(run_.plan).value();
  }
  void SetUpDecoder() {
    const std::string config = testing::TinyDecoderConfig("llama", 2, R"(, "tie_word_embeddings": true)");
    ASSERT_TRUE(testing::WriteTinyDecoder(folder_.path(), config).ok());
    run_.problem.type = ProblemType::kLanguageModelling;
    run_.plan = {};
    run_.plan.base = ReadBaseConfig(config)->shape;
    Load();
  }

  ParamVector Start() const {
    ParamVector params = ParamVector::Initial(layout_, 1);
    RandomStream stream(3, "params");  // or B is zero, and what trains A
    for (float& value : params.values()) value += static_cast<float>(0.1 * stream.NextNormal());
    return params;
  }
  struct Trained {
    ParamVector params;
    TrainStats stats;
  };
  /// What trainings from now on hide their examples by; nothing: not at all.
  void Hide(const std::optional<Noise>& noise) {
    run_.privacy = {};
    if (!noise) return;
    run_.privacy.mechanism = PrivacySpec::Mechanism::kExampleLevel;
    run_.privacy.clip = noise->clip;
    run_.privacy.clip_groups = clip_groups_;
    run_.privacy.noise_multiplier = noise->noise_multiplier;
  }
  /// One round; without `spec` in the clear.
  Trained Train(const std::vector<Example>& examples, std::optional<Noise> spec, double rate = 0.1,
                std::uint64_t seed = 1) {
    Hide(spec);
    auto trainer = LocalTrainer::Make(base_, run_, layout_);
    EXPECT_TRUE(trainer.ok()) << trainer.status().ToString();
    if (keep_) (*trainer)->KeepActivations(1 << 20);
    testing::SeededRandom random(seed);
    ParamVector params = Start();
    TrainRequest request{.learning_rate = rate, .round = 1, .client = "a"};
    request.random = &random;
    const auto stats = (*trainer)->TrainRound(params, examples, request);
    EXPECT_TRUE(stats.ok()) << stats.status().ToString();
    return {std::move(params), stats.ok() ? *stats : TrainStats()};
  }
  /// Relative to how far `b` is from the start.
  double Difference(const ParamVector& a, const ParamVector& b) const {
    const ParamVector start = Start();
    double difference = 0, way = 0;
    for (std::size_t i = 0; i < layout_->size(); ++i) {
      difference += std::pow(static_cast<double>(a.values()[i]) - b.values()[i], 2);
      way += std::pow(static_cast<double>(b.values()[i]) - start.values()[i], 2);
    }
    EXPECT_GT(way, 0);
    return std::sqrt(difference / way);
  }
  double WayOf(const ParamVector& params) const {
    const ParamVector start = Start();
    double way = 0;
    for (std::size_t i = 0; i < layout_->size(); ++i) {
      way += std::pow(static_cast<double>(params.values()[i]) - start.values()[i], 2);
    }
    return std::sqrt(way);
  }

  testing::TempFolder folder_;
  std::vector<ClipGroupSpec> clip_groups_;
  /// Trainings keep what lower layers make of the examples.
  bool keep_ = false;
  RunSpec run_;
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
  std::vector<Example> examples_ = Texts();
};

TEST_F(ExamplePrivacyTest, D11WithoutClippingAndNoiseAStepIsThePlainOne) {
  const Trained plain = Train(examples_, {});
  const Trained ours = Train(examples_, Noise{kNoClip, kAlmostNoNoise});
  EXPECT_LT(Difference(ours.params, plain.params), 1e-5);
  EXPECT_NEAR(ours.stats.loss, plain.stats.loss, 1e-5);
  EXPECT_EQ(ours.stats.clipped, 0u);
}

TEST_F(ExamplePrivacyTest, D2GroupsHaveTheirPartOfTheNorm) {
  constexpr double kClip = 0.01, kRate = 0.1;
  const auto moved = [&](double share) {
    clip_groups_ = {{{"head"}, share}};
    const ParamVector start = Start(), end = Train(examples_, Noise{kClip, kAlmostNoNoise}, kRate).params;
    double squares = 0;
    for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
      if (layout_->tensors()[i].role != Role::kHead) continue;
      for (std::size_t j = 0; j < end.tensor(i).size(); ++j) {
        squares += std::pow(static_cast<double>(end.tensor(i)[j]) - start.tensor(i)[j], 2);
      }
    }
    return std::sqrt(squares) / (kRate * kClip);
  };
  EXPECT_LE(moved(1e-6), 1.01e-3);
  EXPECT_GT(moved(0.5), 0.01);
}

// An example more would shift the masks of the others, which the run's seed must not say.
TEST_F(ExamplePrivacyTest, D2DropoutIsDrawnInSecret) {
  const Noise noise{kNoClip, kAlmostNoNoise};
  EXPECT_LT(Difference(Train(examples_, noise, 0.1, 1).params, Train(examples_, noise, 0.1, 2).params), 1e-5);
  run_.train.base_dropout = 0.3;
  EXPECT_GT(Difference(Train(examples_, noise, 0.1, 1).params, Train(examples_, noise, 0.1, 2).params), 1e-2);
}

/// With the denominator that was expected, not the batch that came.
TEST_F(ExamplePrivacyTest, D11OnTheBatchThatWasDrawn) {
  run_.train.batch_size = 10;
  const Trained ours = Train(examples_, Noise{kNoClip, kAlmostNoNoise}, 0.1, /*seed=*/5);
  testing::SeededRandom random(5);
  privacy::RandomBits bits(random);
  std::vector<Example> drawn;
  for (const Example& example : examples_) {
    if (bits.Fraction() < 0.25) drawn.push_back(example);
  }
  ASSERT_EQ(ours.stats.examples, static_cast<std::int64_t>(drawn.size()));
  ASSERT_NE(drawn.size(), 10u);
  run_.train.batch_size = 40;
  const Trained plain = Train(drawn, {}, 0.1 * static_cast<double>(drawn.size()) / 10);
  EXPECT_LT(Difference(ours.params, plain.params), 1e-5);
}

TEST_F(ExamplePrivacyTest, D11OfRegression) {
  run_.problem.type = ProblemType::kRegression;
  run_.plan.labels = 1;
  Load();
  for (Example& example : examples_) example.value = static_cast<float>(example.label) - 1;
  const Trained plain = Train(examples_, {});
  EXPECT_LT(Difference(Train(examples_, Noise{kNoClip, kAlmostNoNoise}).params, plain.params), 1e-5);
}

/// Rows of as many targets: a plain step's loss is the mean over the tokens of all rows.
TEST_F(ExamplePrivacyTest, D11OfLanguageModelsWithPackedDocuments) {
  SetUpDecoder();
  std::vector<Example> rows;
  for (std::int32_t i = 0; i < 6; ++i) {
    Example row;
    for (std::int32_t t = 0; t < 12; ++t) row.ids.push_back(5 + (i * t + i) % 40);
    const auto first = static_cast<std::uint32_t>(4 + i % 3);
    row.documents = {{first, 0}, {12 - first, 2}};  // first − 1 and 10 − first targets
    rows.push_back(std::move(row));
  }
  const Trained plain = Train(rows, {});
  EXPECT_LT(Difference(Train(rows, Noise{kNoClip, kAlmostNoNoise}).params, plain.params), 1e-5);
}

/// Which the number of tokens that are allowed at once decides.
TEST_F(ExamplePrivacyTest, PassesOfFewRowsChangeNothing) {
  run_.train.steps = 3;
  const Noise spec{0.5, 0.01};
  run_.problem.max_length = 128;
  const Trained at_once = Train(examples_, spec);
  run_.problem.max_length = 1;
  const Trained by_few = Train(examples_, spec);
  EXPECT_LT(Difference(by_few.params, at_once.params), 1e-4);
  EXPECT_EQ(by_few.stats.examples, at_once.stats.examples);
  EXPECT_GT(at_once.stats.clipped, 0u);
}

TEST_F(ExamplePrivacyTest, AnExampleMovesAStepByTheClipAtMost) {
  const std::vector<Example> one(examples_.begin(), examples_.begin() + 1);
  run_.train.batch_size = 1;
  const Trained free = Train(one, Noise{kNoClip, kAlmostNoNoise}, 1);
  for (const double clip : {1e-3, 0.05}) {
    const Trained clipped = Train(one, Noise{clip, 1e-6}, 1);
    EXPECT_EQ(clipped.stats.clipped, 1u);
    EXPECT_NEAR(WayOf(clipped.params), clip, 1e-3 * clip);
    EXPECT_LT(WayOf(clipped.params), WayOf(free.params));
  }
}

TEST_F(ExamplePrivacyTest, AnEmptyBatchIsAStepOfNoise) {
  run_.train.batch_size = 1;
  std::uint64_t seed = 1;
  const Noise spec{0.5, 2};
  Trained trained = Train(examples_, spec, 1, seed);
  while (trained.stats.examples > 0 && seed < 100) trained = Train(examples_, spec, 1, ++seed);
  ASSERT_EQ(trained.stats.examples, 0);
  EXPECT_EQ(trained.stats.loss, 0);
  // Of deviation 2 · 0.5 in each element.
  const double deviation = WayOf(trained.params) / std::sqrt(static_cast<double>(layout_->size()));
  EXPECT_NEAR(deviation, 1, 0.05);
}

TEST_F(ExamplePrivacyTest, BatchesAreAsLargeAsExpectedOnAverage) {
  run_.train.batch_size = 10;
  run_.train.steps = 0;
  run_.train.epochs = 10;  // of four steps
  const Trained trained = Train(examples_, Noise{0.1, 1}, 0);
  const TrainingRelease cost = *TrainingReleases(run_).Of(examples_.size());
  EXPECT_EQ(cost.release, privacy::Release(privacy::PoissonSum{0.25, 1}));
  EXPECT_EQ(cost.times, 40u);
  EXPECT_EQ(trained.stats.steps, 40);
  EXPECT_NEAR(static_cast<double>(trained.stats.examples), 400, 5 * std::sqrt(40 * 40 * 0.25 * 0.75));
}

TEST_F(ExamplePrivacyTest, BatchesAndNoiseAreNotTheRunsSeeds) {
  const Noise spec{0.5, 1};
  EXPECT_GT(Difference(Train(examples_, spec, 0.1, 1).params, Train(examples_, spec, 0.1, 2).params), 0.1);
  Hide(spec);
  const auto trainer = LocalTrainer::Make(base_, run_, layout_).value();
  ParamVector a = Start(), b = Start();
  const TrainRequest request{.learning_rate = 0.1, .round = 1, .client = "a"};
  ASSERT_TRUE(trainer->TrainRound(a, examples_, request).ok() && trainer->TrainRound(b, examples_, request).ok());
  EXPECT_GT(Difference(a, b), 0.1);
}

/// A gradient beyond float32.
TEST_F(ExamplePrivacyTest, WhatIsNotFiniteCountsAsZeroAndIsCounted) {
  run_.problem.type = ProblemType::kRegression;
  run_.plan.labels = 1;
  Load();
  std::vector<Example> others = examples_;
  examples_.push_back(examples_[7]);
  examples_.back().value = std::numeric_limits<float>::max();
  const Noise spec{1, kAlmostNoNoise};
  run_.train.batch_size = 41;
  const Trained with = Train(examples_, spec, 0.41), without = Train(others, spec, 0.40);  // over 41 and over 40
  EXPECT_EQ(with.stats.not_finite, 1u);
  EXPECT_EQ(without.stats.not_finite, 0u);
  EXPECT_EQ(with.stats.examples, 41);
  EXPECT_LT(Difference(with.params, without.params), 1e-5);
}

/// Of texts that stand side by side in attention, one of which has a token without a finite vector.
TEST_F(ExamplePrivacyTest, WhatIsNotFiniteLeavesNeighboursAlone) {
  auto tensors = testing::TinyTensors();
  auto& words = tensors["embeddings.word_embeddings.weight"].second;
  std::fill_n(words.begin() + 49 * 32, 32, std::numeric_limits<float>::quiet_NaN());
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) views.push_back(FloatView(name, tensor.first, tensor.second));
  ASSERT_TRUE(WriteSafetensors(JoinPath(folder_.path(), "model.safetensors"), views).ok());
  Load();
  std::vector<Example> good = {{{2, 10, 20}, {}, 0}, {{2, 11, 21, 22}, {}, 1}}, all = good;
  all.insert(all.begin(), {{49, 12}, {}, 2});
  run_.train.batch_size = 3;
  const Noise spec{kNoClip, kAlmostNoNoise};
  const auto expect_alone = [&] {
    const Trained with = Train(all, spec, 0.3), without = Train(good, spec, 0.2);  // over 3 and over 2
    EXPECT_EQ(with.stats.not_finite, 1u);
    EXPECT_LT(Difference(with.params, without.params), 1e-5);
  };
  expect_alone();
  keep_ = true;
  for (const ViewConfig& view : {ViewConfig{.layers = {1}}, ViewConfig{.frozen = {"lora_a", "lora_b"}}}) {
    PhaseSpec phase;
    phase.views = {view};
    run_.schedule = {phase};
    expect_alone();
  }
}

/// Which noise would fill.
TEST_F(ExamplePrivacyTest, RanksThatFellAwayStayZero) {
  AdaLoraConfig config;
  config.lora.rank = 4;
  config.lora.target_modules = {"query", "value"};
  config.target_rank = 2;
  run_.plan.method = config;
  Load();
  Hide(Noise{1, 1});
  const auto trainer = LocalTrainer::Make(base_, run_, layout_).value();
  ParamVector params = ParamVector::Initial(layout_, 1);
  for (std::uint32_t round = 1; round <= 2; ++round) {
    ASSERT_TRUE(trainer->TrainRound(params, examples_, {.learning_rate = 0.01, .round = round, .client = "c"}).ok());
    ParamVector zeroed = params.Clone();
    ZeroUnusedRanks(zeroed);
    EXPECT_EQ(std::memcmp(params.values().data(), zeroed.values().data(), params.values().size_bytes()), 0);
    AllocateRanks(run_.plan.method, round, 1, params);
  }
}

TEST_F(ExamplePrivacyTest, RefusesOtherMethodsAndNumbers) {
  const auto refusal = [&](const Noise& spec) {
    Hide(spec);
    return LocalTrainer::Make(base_, run_, PlanLayout(run_.plan).value()).status();
  };
  EXPECT_THAT(refusal({0, 1}).message(), HasSubstr("clip: got 0"));
  EXPECT_THAT(refusal({1, -1}).message(), HasSubstr("noise_multiplier: got -1"));
  EXPECT_THAT(refusal({std::numeric_limits<double>::infinity(), 1}).message(), HasSubstr("clip: got inf"));
  run_.plan.method = SparseConfig{};
  EXPECT_EQ(refusal({1, 1}).code(), Code::kUnimplemented);
  EXPECT_THAT(refusal({1, 1}).message(), HasSubstr("example-level privacy: gradients of single examples: got"));
}

}  // namespace
}  // namespace fedpeft::client
