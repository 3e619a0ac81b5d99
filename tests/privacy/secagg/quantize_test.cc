#include "privacy/secagg/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "peft/core/random.h"
#include "privacy/secagg/ring.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using ::testing::HasSubstr;
using testing::SeededRandom;
using Elements = std::vector<std::uint32_t>;

Quantizer MakeQuantizer(const RingBudget& budget, int exponent) {
  Result<Quantizer> quantizer = Quantizer::Make(budget, exponent);
  EXPECT_TRUE(quantizer.ok()) << quantizer.status().ToString();
  return std::move(*quantizer);
}

double Mean(std::span<const std::int64_t> values) {
  return static_cast<double>(std::accumulate(values.begin(), values.end(), std::int64_t{0})) /
         static_cast<double>(values.size());
}

TEST(QuantizerTest, Q1IsUnbiased) {
  SeededRandom random(1);
  const Quantizer quantizer = MakeQuantizer({24, 1, 1}, 0);
  constexpr std::size_t kCount = 1'000'000;
  for (const float value : {0.3f, -0.3f, 2.75f, -1e-3f}) {
    Elements elements(kCount);
    EXPECT_EQ(quantizer.Encode(std::vector<float>(kCount, value), 1, random, elements), 0u);
    std::vector<std::int64_t> sums(kCount);
    quantizer.Decode(elements, sums);
    const double part = static_cast<double>(value) - std::floor(static_cast<double>(value));
    EXPECT_NEAR(Mean(sums), static_cast<double>(value), 5 * std::sqrt(part * (1 - part) / kCount)) << value;
  }
}

TEST(QuantizerTest, Q2ErrorOfAMeanIsAsPredicted) {
  SeededRandom random(2);
  RandomStream draws(3, "values");
  constexpr std::size_t kSize = 20'000;
  constexpr int kClients = 100, kExponent = 10;
  const Quantizer quantizer = MakeQuantizer({32, kClients, 1}, kExponent);
  Elements sum(kSize), elements(kSize);
  std::vector<double> exact(kSize);
  for (int client = 0; client < kClients; ++client) {
    std::vector<float> values(kSize);
    for (std::size_t i = 0; i < kSize; ++i) {
      values[i] = static_cast<float>(draws.NextDouble() * 0.2 - 0.1);
      exact[i] += static_cast<double>(values[i]);
    }
    quantizer.Encode(values, 1, random, elements);
    for (std::size_t i = 0; i < kSize; ++i) sum[i] += elements[i];
  }
  std::vector<std::int64_t> sums(kSize);
  quantizer.Decode(sum, sums);
  double squares = 0;
  for (std::size_t i = 0; i < kSize; ++i) {
    squares += std::pow((std::ldexp(static_cast<double>(sums[i]), -kExponent) - exact[i]) / kClients, 2);
  }
  const double predicted = std::ldexp(1.0, -kExponent) / std::sqrt(6.0 * kClients);
  EXPECT_NEAR(std::sqrt(squares / kSize) / predicted, 1, 0.02);
}

TEST(QuantizerTest, Q3AllAtTheLimitDoNotWrap) {
  SeededRandom random(4);
  for (const RingBudget& budget :
       {RingBudget{16, 100, 3}, RingBudget{24, 1000, 1}, RingBudget{32, 128, 100}, RingBudget{32, 1, 1}}) {
    const Quantizer quantizer = MakeQuantizer(budget, 0);
    const auto most = quantizer.level() * static_cast<std::int64_t>(budget.max_contributions * budget.max_weight);
    EXPECT_LT(most, std::int64_t{1} << (budget.bits - 1));
    EXPECT_GE(most + static_cast<std::int64_t>(budget.max_contributions * budget.max_weight),
              std::int64_t{1} << (budget.bits - 1));
    Elements elements(2), sum(2);
    for (std::uint64_t i = 0; i < budget.max_contributions; ++i) {
      EXPECT_EQ(quantizer.Encode(std::vector<float>{1e30f, -1e30f}, budget.max_weight, random, elements), 2u);
      sum[0] += elements[0];
      sum[1] += elements[1];
    }
    std::vector<std::int64_t> sums(2);
    quantizer.Decode(sum, sums);
    EXPECT_EQ(sums[0], most);
    EXPECT_EQ(sums[1], -most);
  }
}

TEST(QuantizerTest, Q3RefusesACohortThatCouldWrap) {
  EXPECT_EQ(*LargestLevel({16, 32767, 1}), 1);
  EXPECT_EQ(*LargestLevel({24, 1000, 1}), 8388);
  EXPECT_THAT(LargestLevel({16, 32768, 1}).status().message(), HasSubstr("32768 clients of weight 1 would overflow"));
  EXPECT_FALSE(LargestLevel({32, std::uint64_t{1} << 40, std::uint64_t{1} << 40}).ok());
  for (const RingBudget& bad :
       {RingBudget{7, 1, 1}, RingBudget{33, 1, 1}, RingBudget{24, 0, 1}, RingBudget{24, 1, 0}}) {
    EXPECT_EQ(Quantizer::Make(bad, 0).status().code(), Code::kInvalidArgument);
  }
}

TEST(QuantizerTest, Q6KeepsTheRoundedNormWithinItsBound) {
  SeededRandom random(5);
  RandomStream draws(6, "values");
  constexpr std::size_t kSize = 1000;
  const Quantizer quantizer = MakeQuantizer({24, 1, 1}, 0);
  for (const double clip : {0.5, 20.0, 3000.0}) {
    std::vector<float> values(kSize);
    double squares = 0;
    for (float& value : values) {
      value = static_cast<float>(draws.NextNormal());
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    for (float& value : values) value = static_cast<float>(static_cast<double>(value) * clip / std::sqrt(squares));
    const double bound = RoundedNorm(clip, kSize);
    int at_once = 0;
    constexpr int kTries = 300;
    for (int i = 0; i < kTries; ++i) {
      Elements elements(kSize);
      const auto norm = [&] {
        double sum = 0;
        for (const std::uint32_t element : elements) sum += std::pow(Centered(element, 24), 2);
        return std::sqrt(sum);
      };
      quantizer.Encode(values, 1, random, elements);
      at_once += norm() <= bound;
      quantizer.EncodeWithin(values, bound, random, elements);
      EXPECT_LE(norm(), bound);
    }
    EXPECT_GE(at_once, kTries * (1 - std::exp(-0.5))) << clip;
  }
}

TEST(QuantizerTest, ScalesAreTheFinestThatFit) {
  for (const double max_abs : {1e-6, 0.1, 0.3, 1.0, 16.0, 1000.0}) {
    for (const std::int64_t level : {1, 127, 8388, 1 << 20}) {
      const int exponent = ScaleExponent(level, max_abs);
      EXPECT_LE(std::ldexp(max_abs, exponent), static_cast<double>(level));
      EXPECT_GT(std::ldexp(max_abs, exponent + 1), static_cast<double>(level));
    }
  }
}

TEST(CounterCodeTest, P9SumsAreExact) {
  RandomStream draws(7, "numbers");
  for (const RingBudget& budget : {RingBudget{8, 100, 1}, RingBudget{24, 1000, 1}, RingBudget{32, 1, 1},
                                   RingBudget{20, 128, 1}, RingBudget{16, 32768, 1}}) {
    const Result<CounterCode> code = CounterCode::Make(budget);
    ASSERT_TRUE(code.ok());
    Elements sum(code->limbs()), elements(code->limbs());
    std::uint64_t expected = 0;
    for (std::uint64_t i = 0; i < budget.max_contributions; ++i) {
      const std::uint64_t number = i % 3 == 0   ? ~std::uint64_t{0}
                                   : i % 3 == 1 ? draws.NextU64()
                                                : draws.NextBelow(1000);
      expected += number;
      code->Encode(static_cast<std::int64_t>(number), elements);
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += elements[j];
    }
    EXPECT_EQ(code->Decode(sum), static_cast<std::int64_t>(expected)) << budget.bits;
  }
  EXPECT_THAT(CounterCode::Make({8, 129, 1}).status().message(), HasSubstr("want more for 129 clients"));
}

}  // namespace
}  // namespace fedpeft::privacy
