// What a client sends where clients make the noise.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "peft/core/random.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/secure_vector.h"
#include "privacy/secagg/session_config.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using testing::SeededRandom;

constexpr int kBits = 28;
constexpr double kNoNoise = 1e-9;

SecureVectorLayout LayoutOf(std::uint64_t values, int exponent, bool rotation = false) {
  SecureVectorSpec spec{values, 1, {kBits, 8, 1, 20}, exponent};
  if (rotation) spec.rotation = Digest{7};
  return *SecureVectorLayout::Make(spec);
}

/// Of the vector's values, as signed steps.
std::vector<double> StepsOf(const SecureVectorLayout& layout, const std::vector<std::uint32_t>& elements) {
  std::vector<double> steps(layout.coded_values());
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<double>(Centered(elements[i], kBits));
  return steps;
}

/// Of one client's vector, the parameters' values.
std::vector<float> MeanOf(const SecureVectorLayout& layout, const std::vector<std::uint32_t>& elements) {
  Bytes packed(layout.packed_bytes());
  PackRing(elements, kBits, packed);
  MaskedSum sum(layout);
  EXPECT_TRUE(sum.AddPiece(0, packed).ok());
  return sum.Finish(1)->mean;
}

double NormOf(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

class PrivateVectorTest : public ::testing::Test {
 protected:
  std::vector<std::uint32_t> Encode(const SecureVectorLayout& layout, const std::vector<float>& values,
                                    const ClientNoise& noise) {
    return *layout.EncodePrivate(values, noise, std::vector<std::int64_t>{1}, random_);
  }
  std::vector<float> Values(std::size_t count, double deviation) {
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(draws_.NextNormal() * deviation);
    return values;
  }

  RandomStream draws_{5, "private"};
  SeededRandom random_{5};
};

TEST_F(PrivateVectorTest, D2Q6OneClientChangesTheSumByNoMoreThanTheSensitivity) {
  for (const bool rotation : {false, true}) {
    for (const int exponent : {4, 12}) {  // on the coarse grid rounding is most of it
      const SecureVectorLayout layout = LayoutOf(50, exponent, rotation);
      const double most = layout.Sensitivity(0.5);
      EXPECT_GE(most, std::ldexp(0.5, exponent));
      for (int i = 0; i < 2500; ++i) {
        const std::vector<float> values = Values(50, i % 2 == 0 ? 1 : 0.01);
        EXPECT_LE(NormOf(StepsOf(layout, Encode(layout, values, {0.5, kNoNoise, 1}))), most);
      }
    }
  }
}

TEST_F(PrivateVectorTest, WhatIsWithinTheNormIsItself) {
  const SecureVectorLayout layout = LayoutOf(3, 16);
  const std::vector<double> steps = StepsOf(layout, Encode(layout, {0.25f, -0.5f, 0}, {1, kNoNoise, 1}));
  EXPECT_NEAR(steps[0], 0.25 * 65536, 1);
  EXPECT_NEAR(steps[1], -0.5 * 65536, 1);
  EXPECT_EQ(steps[2], 0);
}

TEST_F(PrivateVectorTest, WhatIsNotFiniteIsZeroAndTheRestIsClippedInItsDirection) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const bool rotation : {false, true}) {
    const SecureVectorLayout layout = LayoutOf(4, 16, rotation);
    const std::vector<float> mean = MeanOf(layout, Encode(layout, {nan, 3e30f, -infinity, -4e30f}, {1, kNoNoise, 1}));
    EXPECT_NEAR(mean[0], 0, 1e-4);
    EXPECT_NEAR(mean[1], 0.6, 1e-4);
    EXPECT_NEAR(mean[2], 0, 1e-4);
    EXPECT_NEAR(mean[3], -0.8, 1e-4);
  }
}

TEST_F(PrivateVectorTest, D2GroupsHaveTheirPartOfTheNorm) {
  for (const bool rotation : {false, true}) {
    const SecureVectorLayout layout = LayoutOf(3, 16, rotation);
    const ClientNoise noise{1, kNoNoise, 1, {{{1, 0}, {2, 1}}, {0.64, 0.36}}};
    const std::vector<float> mean = MeanOf(layout, Encode(layout, {0.5f, 30, -40}, noise));
    EXPECT_NEAR(mean[0], 0.5, 1e-4);
    EXPECT_NEAR(mean[1], 0.36, 1e-4);
    EXPECT_NEAR(mean[2], -0.48, 1e-4);
  }
}

TEST_F(PrivateVectorTest, D8D9TheNoiseOfTheHonestAloneIsAllThatIsWanted) {
  constexpr std::size_t kValues = 100'000;
  SessionConfig config;
  config.min_clients = 5;
  config.max_drop_out = 0.3;
  config.max_corrupt = 0.2;
  const SecureVectorLayout layout = LayoutOf(kValues, 16);
  const ClientNoise noise{0.5, 1.5, config.HonestOf(20)};
  ASSERT_EQ(noise.makers, 20u - 6u - 4u);
  const double wanted = noise.noise_multiplier * layout.Sensitivity(noise.clip);
  std::vector<double> sum(kValues);
  const std::vector<float> nothing(kValues);
  for (std::uint64_t i = 0; i < noise.makers; ++i) {
    const std::vector<double> steps = StepsOf(layout, Encode(layout, nothing, noise));
    for (std::size_t j = 0; j < kValues; ++j) sum[j] += steps[j];
  }
  EXPECT_NEAR(NormOf(sum) / std::sqrt(double{kValues}) / wanted, 1, 5 / std::sqrt(2.0 * kValues));
}

// All others tell the coordinator their updates and their noise: what is left of the sum has this client's share.
TEST_F(PrivateVectorTest, D9OneHonestClientsOwnShareHidesIt) {
  constexpr std::size_t kValues = 100'000;
  const SecureVectorLayout layout = LayoutOf(kValues, 16);
  const ClientNoise noise{0.5, 1.5, 10};
  std::vector<std::uint32_t> sum(layout.elements()), told(layout.elements());
  for (int client = 0; client < 4; ++client) {
    const std::vector<std::uint32_t> vector = Encode(layout, Values(kValues, 1e-4), noise);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i] += vector[i];
      if (client > 0) told[i] += vector[i];
    }
  }
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] -= told[i];
  const double share = noise.noise_multiplier * layout.Sensitivity(noise.clip) / std::sqrt(10.0);
  const double left = NormOf(StepsOf(layout, sum)) / std::sqrt(double{kValues});
  EXPECT_GE(left, share * (1 - 5 / std::sqrt(2.0 * kValues)));
}

TEST_F(PrivateVectorTest, TheMeanIsOverTheDenominator) {
  const SecureVectorLayout layout = LayoutOf(8, 16);
  MaskedSum sum(layout);
  const auto elements = Encode(layout, std::vector<float>(8, 0.125f), {1, kNoNoise, 1});
  Bytes packed(layout.packed_bytes());
  PackRing(elements, kBits, packed);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(sum.AddPiece(0, packed).ok());
  EXPECT_NEAR(sum.Finish(3, 6.0)->mean[0], 0.0625, 1e-6);
  EXPECT_NEAR(sum.Finish(3)->mean[0], 0.125, 1e-6);
}

}  // namespace
}  // namespace fedpeft::privacy
