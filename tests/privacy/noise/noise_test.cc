// Statistics of the samplers. Draws are of fixed keys, so that a test that passes passes always; bounds are five
// standard deviations, or a chance of 1e-6.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>
#include <set>
#include <vector>

#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/random_bits.h"
#include "privacy/noise/skellam.h"

namespace fedpeft::privacy {
namespace {

constexpr int kDraws = 1'000'000;

SecretKey KeyOf(std::uint8_t number) {
  SecretKey key;
  key.mutable_bytes()[0] = number;
  return key;
}

/// Pearson's statistic of draws against chances in proportion to `weight`, of values in bins of 25 or more expected;
/// and the bins.
template <typename Weight>
std::pair<double, int> ChiSquare(const std::map<std::int64_t, int>& counts, std::int64_t most, Weight weight) {
  double total = 0;
  for (std::int64_t x = -most; x <= most; ++x) total += weight(x);
  double statistic = 0, expected = 0, seen = 0;
  int bins = 0;
  for (std::int64_t x = -most; x <= most; ++x) {
    expected += kDraws * weight(x) / total;
    const auto at = counts.find(x);
    seen += at == counts.end() ? 0 : at->second;
    if (expected < 25) continue;
    statistic += (seen - expected) * (seen - expected) / expected;
    expected = seen = 0;
    ++bins;
  }
  return {statistic, bins};
}

TEST(DiscreteGaussianTest, S1DrawsItsDistribution) {
  std::uint8_t key = 0;
  for (const double deviation : {.5, 1.0, 4.0, 13045.0}) {
    RandomBits bits(KeyOf(++key));
    const DiscreteGaussian noise(deviation);
    std::map<std::int64_t, int> counts;
    for (int i = 0; i < kDraws; ++i) ++counts[noise.Draw(bits)];
    const auto [statistic, bins] =
        ChiSquare(counts, static_cast<std::int64_t>(12 * deviation) + 1,
                  [&](std::int64_t x) { return std::exp(-static_cast<double>(x * x) / (2 * noise.variance())); });
    EXPECT_GE(bins, 3);
    // Nearly normal in the cube root (Wilson and Hilferty).
    const double freedom = bins - 1, ninth = 2 / (9 * freedom);
    EXPECT_LT((std::cbrt(statistic / freedom) - (1 - ninth)) / std::sqrt(ninth), 4.75) << deviation;
  }
}

TEST(DiscreteGaussianTest, S3IsNearlyNormalWhereItIsWide) {
  RandomBits bits(KeyOf(10));
  const DiscreteGaussian noise(1e4);
  std::vector<double> draws(kDraws);
  for (double& draw : draws) draw = static_cast<double>(noise.Draw(bits)) / 1e4;
  std::ranges::sort(draws);
  double distance = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double normal = 0.5 * std::erfc(-draws[static_cast<std::size_t>(i)] / std::numbers::sqrt2);
    distance =
        std::max({distance, normal - static_cast<double>(i) / kDraws, static_cast<double>(i + 1) / kDraws - normal});
  }
  EXPECT_LE(distance, 2.6 / std::sqrt(kDraws));
}

TEST(DiscreteGaussianTest, NeverHasLessVarianceThanAskedFor) {
  for (const double deviation : {1e-4, .3, 1.0, 1023.9, 1024.0, 1e6, kMostDeviation}) {
    EXPECT_GE(DiscreteGaussian(deviation).variance(), deviation * deviation * (1 - 1e-15)) << deviation;
  }
}

TEST(DiscreteGaussianTest, DrawsTheWidest) {
  RandomBits bits(KeyOf(11));
  const DiscreteGaussian noise(kMostDeviation);
  double square = 0;
  constexpr int kFew = 20'000;
  for (int i = 0; i < kFew; ++i) square += std::pow(static_cast<double>(noise.Draw(bits)) / kMostDeviation, 2);
  EXPECT_NEAR(square / kFew, 1, 5 * std::sqrt(2.0 / kFew));
}

TEST(SkellamTest, S2HasItsMoments) {
  std::uint8_t key = 20;
  for (const double variance : {1.0, 100.0, 1e6}) {
    RandomBits bits(KeyOf(++key));
    const Skellam noise(variance);
    double sum = 0, square = 0, fourth = 0;
    for (int i = 0; i < kDraws; ++i) {
      const auto draw = static_cast<double>(noise.Draw(bits)) / std::sqrt(variance);
      sum += draw;
      square += draw * draw;
      fourth += draw * draw * draw * draw;
    }
    const double root = std::sqrt(kDraws), kurtosis = 3 + 1 / variance;
    EXPECT_NEAR(sum / kDraws, 0, 5 / root) << variance;
    EXPECT_NEAR(square / kDraws, 1, 5 * std::sqrt(kurtosis - 1) / root) << variance;
    EXPECT_NEAR(fourth / kDraws, kurtosis, 5 * std::sqrt(96 + 600 / variance) / root) << variance;
  }
}

TEST(SkellamTest, S2SumsAddTheirVariances) {
  RandomBits bits(KeyOf(30));
  const Skellam noise(3);
  double square = 0;
  constexpr int kSums = 50'000, kClients = 20;
  for (int i = 0; i < kSums; ++i) {
    std::int64_t sum = 0;
    for (int client = 0; client < kClients; ++client) sum += noise.Draw(bits);
    square += static_cast<double>(sum * sum);
  }
  EXPECT_NEAR(square / kSums / (3 * kClients), 1, 5 * std::sqrt(2.1 / kSums));
}

TEST(SkellamTest, DrawsTheWidest) {
  RandomBits bits(KeyOf(31));
  const Skellam noise(0x1p56);
  double square = 0;
  constexpr int kFew = 20'000;
  for (int i = 0; i < kFew; ++i) square += std::pow(static_cast<double>(noise.Draw(bits)) * 0x1p-28, 2);
  EXPECT_NEAR(square / kFew, 1, 5 * std::sqrt(2.0 / kFew));
}

TEST(RandomBitsTest, S5StreamsOfDifferentKeysHaveNothingInCommon) {
  RandomBits one(KeyOf(40)), other(KeyOf(41));
  std::set<std::uint64_t> seen;
  double product = 0;
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t a = one.Next(), b = other.Next();
    product += (static_cast<double>(a) * 0x1p-64 - 0.5) * (static_cast<double>(b) * 0x1p-64 - 0.5) * 12;
    seen.insert({a, b});
  }
  EXPECT_LE(std::abs(product) / kDraws, 5 / std::sqrt(kDraws));
  EXPECT_EQ(seen.size(), 2u * kDraws) << "a word of 64 bits comes twice once in ten million such tests";
}

TEST(RandomBitsTest, S5AForkedChildDrawsOtherNoise) {
  RandomBits(RandomSource::System()).Next();  // what a child would inherit is there
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const std::uint64_t drawn = RandomBits(RandomSource::System()).Next();
    _exit(write(ends[1], &drawn, sizeof(drawn)) == sizeof(drawn) ? 0 : 1);
  }
  std::uint64_t theirs = 0;
  ASSERT_EQ(read(ends[0], &theirs, sizeof(theirs)), ssize_t{sizeof(theirs)});
  EXPECT_NE(RandomBits(RandomSource::System()).Next(), theirs);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(ends[0]);
  close(ends[1]);
}

TEST(RandomBitsTest, IsUniformBelowAnyBound) {
  RandomBits bits(KeyOf(50));
  EXPECT_TRUE(bits.Below(1) == 0);
  std::map<std::uint64_t, int> counts;
  for (int i = 0; i < 60'000; ++i) ++counts[static_cast<std::uint64_t>(bits.Below(6))];
  ASSERT_EQ(counts.size(), 6u);
  for (const auto& [value, count] : counts) EXPECT_NEAR(count, 10'000, 5 * std::sqrt(10'000));
  const Uint128 wide = (Uint128{1} << 100) + 1;
  int upper = 0;
  for (int i = 0; i < 10'000; ++i) {
    const Uint128 drawn = bits.Below(wide);
    ASSERT_TRUE(drawn < wide);
    upper += drawn >> 99 != 0;
  }
  EXPECT_NEAR(upper, 5000, 5 * 50);
}

TEST(FlipExpTest, FallsWithItsChance) {
  RandomBits bits(KeyOf(60));
  const struct { std::uint64_t numerator, denominator; } cases[] = {{0, 7}, {1, 3}, {1, 1}, {5, 2}, {9, 1}};
  for (const auto& one : cases) {
    int heads = 0;
    constexpr int kFlips = 200'000;
    for (int i = 0; i < kFlips; ++i) heads += FlipExp(one.numerator, one.denominator, bits);
    const double chance = std::exp(-static_cast<double>(one.numerator) / static_cast<double>(one.denominator));
    EXPECT_NEAR(static_cast<double>(heads) / kFlips, chance, 5 * std::sqrt(chance * (1 - chance) / kFlips) + 1e-12);
  }
}

}  // namespace
}  // namespace fedpeft::privacy
