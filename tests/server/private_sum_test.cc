#include "server/private_sum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "peft/core/random.h"
#include "privacy/noise/draws.h"
#include "tests/aggregation/layouts.h"
#include "tests/privacy/random.h"

namespace fedpeft::server {
namespace {

using aggregation::testing::TwoTensors;
using aggregation::testing::WholePayload;
using fedpeft::testing::SeededRandom;

/// Of two tensors, the second of that many values.
PrivateSum MakeSum(const PrivateSum::Setup& setup, std::int64_t tail = 4) {
  const auto layout = TwoTensors(tail);
  Result<PrivateSum> sum = PrivateSum::Make(layout, WholePayload(*layout, 16), setup);
  EXPECT_TRUE(sum.ok()) << sum.status().ToString();
  return *std::move(sum);
}

Status Add(PrivateSum& sum, std::span<const float> values) {
  const ByteSpan bytes = AsBytes(values);
  const auto reader = [bytes](std::uint64_t offset, MutableByteSpan out) {
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return OkStatus();
  };
  return sum.Add(bytes.size(), reader, 1);
}

std::vector<float> Random(RandomStream& stream, std::size_t size, double scale) {
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(scale * stream.NextNormal());
  return values;
}

TEST(PrivateSumTest, D2GroupsHaveTheirPartOfTheNorm) {
  const std::size_t size = MakeSum({.most = 1}, 40'000).sum().values().size();  // more than are read at a time
  const privacy::ClipGroups groups{{{size - 20'000, 0}, {20'000, 1}}, {0.64, 0.36}};
  PrivateSum sum = MakeSum({.clip = 1, .groups = groups, .most = 1}, 40'000);
  std::vector<float> update(size, 0.0f);
  update[0] = 0.5f;
  std::fill(update.end() - 20'000, update.end(), 5.0f);
  ASSERT_TRUE(Add(sum, update).ok());
  const auto value = [&](std::size_t i) {
    return std::ldexp(static_cast<double>(sum.sum().values()[i]), -sum.sum().grid_exponent());
  };
  EXPECT_NEAR(value(0), 0.5, 1e-6);
  EXPECT_NEAR(value(size - 20'000), 0.6 / std::sqrt(20'000), 1e-6);
  EXPECT_NEAR(value(size - 1), 0.6 / std::sqrt(20'000), 1e-6);
}

TEST(PrivateSumTest, D2OneClientChangesTheSumByAtMostTheClip) {
  RandomStream stream(1, "cohorts");
  for (int cohort = 0; cohort < 10'000; ++cohort) {
    PrivateSum with = MakeSum({.clip = 0.3, .most = 10}), without = MakeSum({.clip = 0.3, .most = 10});
    const std::size_t size = with.sum().values().size();
    const std::uint64_t clients = stream.NextBelow(5);
    for (std::uint64_t client = 0; client <= clients; ++client) {
      const std::vector<float> update = Random(stream, size, std::exp(3 * stream.NextNormal() - 3));
      ASSERT_TRUE(Add(with, update).ok());
      ASSERT_TRUE(client == 0 || Add(without, update).ok());
    }
    double squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
      squares += std::pow(static_cast<double>(with.sum().values()[i] - without.sum().values()[i]), 2);
    }
    EXPECT_LE(std::ldexp(std::sqrt(squares), -with.sum().grid_exponent()), 0.3);
  }
}

TEST(PrivateSumTest, D3TheNoiseIsWhatWasAskedFor) {
  for (const double noise : {.1, 1.0, 30.0}) {
    SeededRandom random(3);
    PrivateSum sum =
        MakeSum({.clip = 0.3, .noise_multiplier = noise, .expected = 7, .most = 10, .random = &random}, 1'000'000);
    const auto outcome = sum.Finish();
    ASSERT_TRUE(outcome.ok());
    double squares = 0, total = 0;
    for (const float value : outcome->reduced.mean) {
      total += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    const auto values = static_cast<double>(outcome->reduced.mean.size());
    const double deviation = noise * 0.3 / 7;
    EXPECT_NEAR(std::sqrt(squares / values) / deviation, 1, 0.005);
    EXPECT_NEAR(total / values / deviation, 0, 5 / std::sqrt(values));
  }
}

// However many come, the mean is over those who were expected.
TEST(PrivateSumTest, D4TheDenominatorIsFixed) {
  for (const int clients : {0, 1, 10}) {
    SeededRandom random(4);
    PrivateSum sum = MakeSum({.clip = 100, .noise_multiplier = 1e-6, .expected = 5, .most = 10, .random = &random});
    const std::vector<float> update(sum.sum().values().size(), 1.0f);
    for (int client = 0; client < clients; ++client) ASSERT_TRUE(Add(sum, update).ok());
    const auto outcome = sum.Finish();
    for (const float value : outcome->reduced.mean) EXPECT_NEAR(value, clients / 5.0, 1e-3);
  }
}

TEST(PrivateSumTest, WhatIsNotFiniteCountsAsZero) {
  PrivateSum sum = MakeSum({.clip = 1, .most = 10});
  std::vector<float> update(sum.sum().values().size(), 0.0f);
  update[0] = std::numeric_limits<float>::quiet_NaN();
  update[1] = 0.5f;
  update[2] = std::numeric_limits<float>::max();
  update[3] = std::numeric_limits<float>::infinity();
  ASSERT_TRUE(Add(sum, update).ok());
  EXPECT_EQ(sum.not_finite(), 2u);
  EXPECT_EQ(sum.sum().values()[0], 0);
  EXPECT_NEAR(std::ldexp(static_cast<double>(sum.sum().values()[2]), -sum.sum().grid_exponent()), 1, 1e-5);
}

TEST(PrivateSumTest, RefusesAnotherLength) {
  PrivateSum sum = MakeSum({.clip = 1, .most = 10});
  EXPECT_EQ(Add(sum, std::vector<float>(3, 0.0f)).code(), Code::kInvalidArgument);
}

TEST(PrivateSumTest, TheClipFollowsTheClientsNorms) {
  privacy::AdaptiveClip adaptive;
  adaptive.count_noise = 0.6;
  double clip = 0.1;
  RandomStream stream(5, "norms");
  SeededRandom random(6);
  for (int round = 0; round < 60; ++round) {
    PrivateSum sum = MakeSum(
        {.clip = clip, .noise_multiplier = 1, .expected = 100, .most = 200, .adaptive = adaptive, .random = &random});
    for (int client = 0; client < 100; ++client) {
      std::vector<float> update(sum.sum().values().size(), 0.0f);
      update[1] = static_cast<float>(0.5 + stream.NextDouble());
      ASSERT_TRUE(Add(sum, update).ok());
    }
    clip = *sum.Finish()->next_clip;
  }
  EXPECT_NEAR(clip, 1, 0.1);
}

// The noise is that of the round, whoever is in the sum: a round that is repeated adds no second one.
TEST(PrivateSumTest, CorrelatedNoiseIsTheRoundsOwn) {
  constexpr std::uint32_t kRounds = 6;
  PrivateSum::Setup setup{.clip = 1, .noise_multiplier = 2, .expected = 5, .most = 10};
  setup.correlated = {{.rounds = kRounds, .separation = 3}, 1, nullptr};
  const PrivateSum unmade = MakeSum(setup, 40'000);
  const std::size_t size = unmade.sum().values().size();
  SeededRandom random(11);
  const privacy::SecretKey key = privacy::RandomSecret<32>(random);
  setup.correlated->noise = std::make_shared<privacy::CorrelatedNoise>(key.Clone(), 3, size, unmade.deviation());
  privacy::CorrelatedNoise again(key.Clone(), 3, size, unmade.deviation());
  // But for the room that rounding takes.
  const double scale = 2 * setup.correlated->spec.Sensitivity() / unmade.deviation();
  std::vector<float> update(size, 0.0f);
  update[1] = 0.5f;
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    setup.correlated->round = round;
    PrivateSum nobody = MakeSum(setup, 40'000), somebody = MakeSum(setup, 40'000);
    ASSERT_TRUE(Add(somebody, update).ok());
    const std::vector<float> noise = nobody.Finish()->reduced.mean, both = somebody.Finish()->reduced.mean;
    EXPECT_NEAR(both[1] - noise[1], 0.1, 1e-6);
    EXPECT_EQ(both[2], noise[2]);
    for (std::size_t i = 0; i < size; i += 999) {
      const double made = again.Of(round, i / privacy::kNoisePart)[i % privacy::kNoisePart] * scale / 5;
      EXPECT_NEAR(noise[i], made, 1e-4 * std::abs(made) + 1e-6);
    }
  }
}

TEST(PrivateSumTest, RefusesCorrelatedNoiseThatNoGridIsFineEnoughFor) {
  const auto layout = TwoTensors(4);
  PrivateSum::Setup setup{.clip = 1, .noise_multiplier = 1e6, .most = 10};
  setup.correlated = {{.rounds = 100'000, .separation = 3}, 1, nullptr};
  EXPECT_EQ(PrivateSum::Make(layout, WholePayload(*layout, 16), setup).status().code(), Code::kInvalidArgument);
}

/// Of a share that was seen in so many of `runs`, a bound on the one side that holds but for a chance of 1e-4: normal,
/// with a count more or less, which is near enough to Clopper and Pearson's for counts as these.
double Bound(int seen, int runs, double side) {
  const double count = seen + side;
  return (count + side * 3.9 * std::sqrt(count + 4)) / runs;
}

/// What an observer makes of it who guesses from one value whether a client was in the sum: a bound from below on ε.
double Audit(double noise, int runs, std::uint64_t seed) {
  SeededRandom random(seed);
  const auto layout = aggregation::testing::Scalar();
  const std::vector<float> update{1.0f};
  int seen[2] = {0, 0};
  for (int i = 0; i < 2 * runs; ++i) {
    PrivateSum sum =
        *PrivateSum::Make(layout, WholePayload(*layout, 16),
                          {.clip = 1, .noise_multiplier = noise, .expected = 1, .most = 2, .random = &random});
    EXPECT_TRUE(i % 2 == 0 || Add(sum, update).ok());
    seen[i % 2] += sum.Finish()->reduced.mean[0] > 2;
  }
  return std::log((Bound(seen[1], runs, -1) - 1e-5) / Bound(seen[0], runs, 1));
}

// With a noise multiplier of 1, ε is 4.377 for a δ of 1e-5.
TEST(PrivateSumTest, S6AnAuditFindsNoMoreThanIsClaimedAndFindsHalfTheNoise) {
  constexpr int kRuns = 50'000;
  const double found = Audit(1, kRuns, 7);
  EXPECT_LE(found, 4.377 + 0.05);
  EXPECT_GE(found, 1.5) << "or there is more noise than was asked for";
  EXPECT_GT(Audit(0.5, kRuns, 8), 4.377 + 0.05) << "or the audit finds nothing";
}

TEST(PrivateSumTest, S4TheMeanIsOnTheGridOfItsNoise) {
  SeededRandom random(11);
  PrivateSum sum = MakeSum({.clip = 0.3, .noise_multiplier = 1, .expected = 1, .most = 2, .random = &random}, 1000);
  const std::size_t size = sum.sum().values().size();
  RandomStream stream(11, "grid");
  ASSERT_TRUE(Add(sum, Random(stream, size, 1)).ok());
  // The finest that any value needs: the deviation is so many steps, of which there are 0.3.
  const double step = 0.3 / sum.deviation();
  EXPECT_EQ(std::ldexp(1, std::ilogb(step)), step) << "a power of two";
  const std::vector<float> mean = sum.Finish()->reduced.mean;
  for (const float value : mean) EXPECT_EQ(std::fmod(static_cast<double>(value), step), 0);
}

TEST(PrivateSumTest, D6RefusesACountThatSaysTooMuch) {
  privacy::AdaptiveClip adaptive;
  adaptive.count_noise = 0.5;
  const auto layout = TwoTensors(4);
  const PrivateSum::Setup setup{.clip = 1, .noise_multiplier = 1, .most = 10, .adaptive = adaptive};
  EXPECT_EQ(PrivateSum::Make(layout, WholePayload(*layout, 16), setup).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace fedpeft::server
