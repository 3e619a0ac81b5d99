#include "privacy/secagg/scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "peft/core/random.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/secure_vector.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using ::testing::HasSubstr;

TEST(ScaleTest, AutomaticBitsLeaveValuesTwelve) {
  EXPECT_EQ(*AutomaticBits({.max_contributions = 5, .max_weight = 1}), 16);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 8, .max_weight = 1}), 16);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 9, .max_weight = 1}), 20);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 128, .max_weight = 1}), 20);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 1000, .max_weight = 1}), 24);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 100, .max_weight = 100}), 28);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 1000, .max_weight = 100}), 32);
  EXPECT_EQ(*AutomaticBits({.max_contributions = 1000, .max_weight = 10'000}), 32) << "7 bits and a sign";
  EXPECT_THAT(AutomaticBits({.max_contributions = 1000, .max_weight = 100'000}).status().message(),
              HasSubstr("lower the cohort or reducer.max_weight"));
}

TEST(ScaleTest, RangesFollowTheValues) {
  EXPECT_EQ(NextRange({1, 0.5, 1000, 0}), 1);
  EXPECT_EQ(NextRange({1, 0.5, 1000, 1}), 2);
  EXPECT_EQ(NextRange({1, 0.5, 1000, 2}), 4);
  EXPECT_EQ(NextRange({1, 0.01, 1000, 0}), 0.5);
  EXPECT_EQ(NextRange({1, 0, 1000, 0}), 0.5);
  EXPECT_EQ(NextRange({0x1p40, 1, 1000, 1000}), 0x1p40);
  EXPECT_EQ(NextRange({0x1p-40, 0, 1000, 0}), 0x1p-40);
}

// Whatever the first range, after some rounds nothing saturates and the grid is as fine as the values allow.
TEST(ScaleTest, RangesSettleFromAnywhere) {
  testing::SeededRandom random(1);
  RandomStream draws(1, "values");
  for (const double start : {1e-6, 1e-3, 1.0, 1e3}) {
    double range = start;
    std::uint64_t saturated = 0;
    for (int round = 0; round < 25; ++round) {
      SecureVectorSpec spec;
      spec.values = 500;
      spec.budget = {20, 20, 1};
      spec.exponent = ScaleExponent(*LargestLevel(spec.budget), range);
      const SecureVectorLayout layout = *SecureVectorLayout::Make(spec);
      MaskedSum sum(layout);
      for (int client = 0; client < 20; ++client) {
        std::vector<float> values(500);
        for (float& value : values) value = static_cast<float>(0.001 * draws.NextNormal());
        const std::int64_t counters[] = {1};
        Bytes packed(layout.packed_bytes());
        PackRing(*layout.Encode(values, counters, random), 20, packed);
        ASSERT_TRUE(sum.AddPiece(0, packed).ok());
      }
      const SecureMean mean = *sum.Finish(20);
      saturated = static_cast<std::uint64_t>(mean.counters.back());
      double largest = 0;
      for (const float value : mean.mean) largest = std::max(largest, std::fabs(static_cast<double>(value)));
      const double used = std::ldexp(static_cast<double>(*LargestLevel(spec.budget)), -spec.exponent);
      range = NextRange({used, largest, 500 * 20, saturated});
    }
    EXPECT_LE(saturated, 10u) << start;
    EXPECT_GT(range, 0.002) << start;
    EXPECT_LT(range, 0.05) << start;
  }
}

}  // namespace
}  // namespace fedpeft::privacy
