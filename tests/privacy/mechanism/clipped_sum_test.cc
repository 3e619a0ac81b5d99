#include "privacy/mechanism/clipped_sum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "peft/core/random.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

constexpr double kAlmostNoNoise = 1e-9;

std::vector<float> RandomUpdate(std::uint64_t seed, std::size_t size, double scale) {
  RandomStream stream(seed, "sum");
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(scale * stream.NextNormal());
  return values;
}

double NormOf(const std::vector<float>& values) {
  NormCounter counter;
  counter.Add(values);
  return counter.norm();
}

std::vector<float> Released(ClippedSum& sum, std::size_t size, double denominator, std::uint64_t seed = 1) {
  std::vector<float> out(size);
  testing::SeededRandom random(seed);
  sum.Release(denominator, /*threads=*/2, random, out);
  return out;
}

TEST(ClippedSumTest, D2AVectorAddsItsDirectionAndNoMoreThanTheClip) {
  for (const double clip : {1e-3, 1.0, 50.0}) {
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const std::size_t size = 1 + 97 * seed;
      const std::vector<float> vector = RandomUpdate(seed, size, 3);
      ClippedSum sum(size, {clip, kAlmostNoNoise, 4});
      sum.Add(vector);
      const std::vector<float> out = Released(sum, size, 1);
      const double norm = NormOf(vector), factor = std::min(1.0, clip / norm);
      EXPECT_LE(NormOf(out), clip * (1 + 1e-6));
      EXPECT_EQ(sum.clipped(), norm > clip ? 1u : 0u);
      for (std::size_t i = 0; i < size; ++i) ASSERT_NEAR(out[i], factor * vector[i], 1e-6 * clip);
    }
  }
}

TEST(ClippedSumTest, SumsAreDividedByWhatWasExpectedAndBeginAfresh) {
  const std::vector<float> a = {0.5f, -0.25f, 0}, b = {0.25f, 0.25f, 0.125f};
  ClippedSum sum(3, {10, kAlmostNoNoise, 2});
  sum.Add(a);
  sum.Add(b);
  const std::vector<float> both = Released(sum, 3, 4), none = Released(sum, 3, 4);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(both[i], (a[i] + b[i]) / 4, 1e-6);
    EXPECT_NEAR(none[i], 0, 1e-6);
  }
}

TEST(ClippedSumTest, WhatIsNotFiniteCountsAsZeroWhole) {
  ClippedSum sum(2, {1, kAlmostNoNoise, 3});
  sum.Add(std::vector<float>{0.5f, std::numeric_limits<float>::infinity()});
  sum.Add(std::vector<float>{std::numeric_limits<float>::quiet_NaN(), 0.5f});
  sum.Add(std::vector<float>{0.25f, 0.25f});
  EXPECT_EQ(sum.not_finite(), 2u);
  for (const float value : Released(sum, 2, 1)) EXPECT_NEAR(value, 0.25, 1e-6);
}

TEST(ClippedSumTest, D2GroupsHaveTheirPartOfTheNorm) {
  ClippedSum sum(4, {1, kAlmostNoNoise, 2, {{{1, 1}, {2, 0}, {1, 1}}, {0.64, 0.36}}});
  sum.Add(std::vector<float>{3, 0.5f, 0, 4});
  EXPECT_EQ(sum.clipped(), 1u);
  const std::vector<float> out = Released(sum, 4, 1);
  EXPECT_NEAR(out[0], 0.36, 1e-6);
  EXPECT_NEAR(out[1], 0.5, 1e-6);
  EXPECT_NEAR(out[2], 0, 1e-6);
  EXPECT_NEAR(out[3], 0.48, 1e-6);
}

/// S4 too: whatever is released lies on the grid.
TEST(ClippedSumTest, D3NoiseIsInProportionToTheClipAndOnTheGrid) {
  constexpr std::size_t kSize = 200'000;
  for (const auto& [clip, multiplier] : {std::pair{0.1, 1.5}, std::pair{8.0, 0.5}}) {
    ClippedSum sum(kSize, {clip, multiplier, 100});
    const std::vector<float> out = Released(sum, kSize, 1);
    double squares = 0;
    for (const float value : out) squares += static_cast<double>(value) * static_cast<double>(value);
    EXPECT_NEAR(std::sqrt(squares / kSize), multiplier * clip, 0.01 * multiplier * clip);
    for (const float value : out) {
      const double steps = std::ldexp(static_cast<double>(value), sum.grid());
      ASSERT_EQ(steps, std::floor(steps));
    }
    EXPECT_NE(out, Released(sum, kSize, 1, /*seed=*/2));
  }
}

}  // namespace
}  // namespace fedpeft::privacy
