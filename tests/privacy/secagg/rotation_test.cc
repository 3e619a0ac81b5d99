#include "privacy/secagg/rotation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "peft/core/random.h"
#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::Counting;
using testing::KeyOf;

double Norm(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(squares);
}

TEST(RotationTest, Q5TurnsBackAndKeepsLengths) {
  RandomStream random(1, "values");
  std::vector<float> values(3 * kRotationBlock);
  for (float& value : values) value = static_cast<float>(random.NextNormal());
  std::vector<float> rotated = values;
  const SecretKey seed = KeyOf(Counting(1, 32));
  Rotate(seed, rotated);
  EXPECT_NEAR(Norm(rotated) / Norm(values), 1, 1e-5);
  EXPECT_NE(rotated, values);
  RotateBack(seed, rotated);
  double difference = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(rotated[i]) - static_cast<double>(values[i])));
  }
  EXPECT_LT(difference, 1e-5);
}

// Ten large values become many small ones: the largest is near the bound for random signs, √(2 ln 2n) times the mean.
TEST(RotationTest, Q5SpreadsSpikes) {
  std::vector<float> values(kRotationBlock);
  for (std::size_t i = 0; i < 10; ++i) values[i * 37 + 11] = 1;
  const double norm = Norm(values);
  Rotate(KeyOf(Counting(2, 32)), values);
  const float largest = std::ranges::max(values, {}, [](float value) { return std::fabs(value); });
  const auto size = static_cast<double>(kRotationBlock);
  EXPECT_LE(std::fabs(static_cast<double>(largest)) * std::sqrt(size) / norm, 5.4);
}

TEST(RotationTest, EachSeedIsAnotherRotation) {
  std::vector<float> one(kRotationBlock, 1), other(kRotationBlock, 1);
  Rotate(KeyOf(Counting(1, 32)), one);
  Rotate(KeyOf(Counting(2, 32)), other);
  EXPECT_NE(one, other);
}

TEST(RotationTest, SizesArePaddedToBlocks) {
  EXPECT_EQ(RotatedSize(0), 0u);
  EXPECT_EQ(RotatedSize(1), kRotationBlock);
  EXPECT_EQ(RotatedSize(kRotationBlock), kRotationBlock);
  EXPECT_EQ(RotatedSize(kRotationBlock + 1), 2 * kRotationBlock);
}

}  // namespace
}  // namespace fedpeft::privacy
