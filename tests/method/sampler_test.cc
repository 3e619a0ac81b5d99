#include "peft/method/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

namespace fedpeft {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Scores of the probabilities 1/10, 4/10, 2/10 and 3/10, moved by `offset`.
std::vector<float> Tenths(double offset = 0) {
  std::vector<float> scores;
  for (const double tenths : {1, 4, 2, 3}) scores.push_back(static_cast<float>(std::log(tenths / 10) + offset));
  return scores;
}

std::map<std::int32_t, double> Normalised(std::span<const float> scores, const SamplingOptions& options) {
  const auto chances = Chances(scores, options);
  EXPECT_TRUE(chances.ok());
  double sum = 0;
  for (const TokenChance& chance : *chances) sum += chance.weight;
  std::map<std::int32_t, double> out;
  for (const TokenChance& chance : *chances) out[chance.id] = chance.weight / sum;
  return out;
}

/// Scores are float32: their logarithms are right to 1e-7.
auto Near(double value) {
  return ::testing::DoubleNear(value, 1e-6);
}

TEST(SamplerTest, GreedyTakesTheHighestScoreAndTheLowestIdAmongEquals) {
  Sampler greedy({}, 1);
  EXPECT_EQ(*greedy.Next(Tenths()), 1);
  EXPECT_EQ(*greedy.Next(std::vector<float>{-5, 2, 7, 7}), 2);
  EXPECT_EQ(*greedy.Next(std::vector<float>{-kInfinity, -3}), 1);
}

TEST(SamplerTest, TemperatureOneIsSoftmax) {
  using ::testing::Pair;
  EXPECT_THAT(Normalised(Tenths(), {.temperature = 1}),
              ::testing::ElementsAre(Pair(0, Near(0.1)), Pair(1, Near(0.4)), Pair(2, Near(0.2)), Pair(3, Near(0.3))));
}

TEST(SamplerTest, TemperatureIsAPowerOfTheProbabilities) {
  // Half the temperature squares them: 1, 16, 4, 9 of 30.
  const auto sharp = Normalised(Tenths(), {.temperature = 0.5});
  EXPECT_THAT(sharp.at(0), Near(1 / 30.0));
  EXPECT_THAT(sharp.at(1), Near(16 / 30.0));
  EXPECT_THAT(sharp.at(3), Near(9 / 30.0));
}

TEST(SamplerTest, TopPKeepsTheFewestTokensThatReachIt) {
  using ::testing::Pair;
  EXPECT_THAT(Normalised(Tenths(), {.temperature = 1, .top_p = 0.65}),
              ::testing::ElementsAre(Pair(1, Near(4 / 7.0)), Pair(3, Near(3 / 7.0))));
  EXPECT_EQ(Normalised(Tenths(), {.temperature = 1, .top_p = 0.75}).size(), 3u);
  EXPECT_EQ(Normalised(Tenths(), {.temperature = 1, .top_p = 0.95}).size(), 4u);
  EXPECT_EQ(Normalised(Tenths(), {.temperature = 1, .top_p = 1e-9}).size(), 1u);
  // It counts what temperature has left: 16 of 30 is more than a half.
  EXPECT_EQ(Normalised(Tenths(), {.temperature = 0.5, .top_p = 0.5}).size(), 1u);
}

TEST(SamplerTest, LargeScoresAndSmallTemperaturesStayFinite) {
  for (const double offset : {1e4, -1e4}) {
    // At 1e4 a float32 is right to 5e-4.
    EXPECT_NEAR(Normalised(Tenths(offset), {.temperature = 1}).at(1), 0.4, 1e-3);
  }
  const auto cold = Normalised(Tenths(), {.temperature = 1e-300});
  EXPECT_EQ(cold.at(1), 1);
  EXPECT_EQ(cold.at(3), 0);
}

TEST(SamplerTest, DrawsAsOftenAsProbable) {
  Sampler sampler({.temperature = 1}, 3);
  std::vector<int> counts(4);
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) ++counts[static_cast<std::size_t>(*sampler.Next(Tenths()))];
  // Five standard deviations of a binomial count are at most 347 of 20000.
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(counts[i], draws * std::exp(Tenths()[i]), 347) << i;
}

TEST(SamplerTest, NeverDrawsWhatHasNoChance) {
  Sampler sampler({.temperature = 1}, 4);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(*sampler.Next(std::vector<float>{-kInfinity, 0, -kInfinity}), 1);
}

TEST(SamplerTest, TheSeedDecides) {
  const auto draw = [](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .top_p = 0.9}, seed);
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(*sampler.Next(Tenths()));
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(SamplerTest, ScoresThatAreNotFiniteAreAnError) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    for (const double temperature : {0.0, 1.0}) {
      Sampler sampler({.temperature = temperature}, 1);
      EXPECT_EQ(sampler.Next(std::vector<float>{0, bad, 1}).status().code(), Code::kAborted);
    }
  }
  EXPECT_FALSE(Sampler({}, 1).Next(std::vector<float>{-kInfinity}).ok());
}

TEST(SamplerTest, OptionsOutOfRangeAreRefused) {
  EXPECT_TRUE(CheckSampling({.temperature = 0.7, .top_p = 0.9}).ok());
  for (const SamplingOptions& bad : {SamplingOptions{-1, 1}, SamplingOptions{kInfinity, 1}, SamplingOptions{1, 0},
                                     SamplingOptions{1, 1.5}, SamplingOptions{1, std::nan("")}}) {
    EXPECT_FALSE(CheckSampling(bad).ok());
  }
}

}  // namespace
}  // namespace fedpeft
