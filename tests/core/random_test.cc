#include "peft/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace fedpeft {
namespace {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(RandomTest, PhiloxKnownAnswers) {
  using Block = std::array<std::uint32_t, 4>;
  EXPECT_EQ(RandomStream::Philox({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(RandomStream::Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(RandomStream::Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomTest, StreamsRepeatAndDiffer) {
  RandomStream a(1, "init", {2}), again(1, "init", {2}), other(1, "init", {3}), purpose(1, "order", {2});
  const std::uint64_t first = a.NextU64();
  EXPECT_EQ(first, again.NextU64());
  EXPECT_NE(first, other.NextU64());
  EXPECT_NE(first, purpose.NextU64());
}

TEST(RandomTest, NormalHasUnitMomentsAndTails) {
  RandomStream stream(7, "normal");
  const int n = 200000;
  double sum = 0, square = 0;
  int beyond2 = 0;
  for (int i = 0; i < n; ++i) {
    const double x = stream.NextNormal();
    sum += x;
    square += x * x;
    beyond2 += std::fabs(x) > 2 ? 1 : 0;
  }
  EXPECT_NEAR(sum / n, 0, 0.01);  // 4.5 standard errors
  EXPECT_NEAR(square / n, 1, 0.015);
  EXPECT_NEAR(beyond2 / double{n}, 0.0455, 0.002);
}

TEST(RandomTest, BelowIsUniformAndInRange) {
  RandomStream stream(7, "below");
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts[stream.NextBelow(7)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 500);
}

TEST(RandomTest, PermutationHoldsEveryIndexOnce) {
  RandomStream stream(7, "permutation");
  std::vector<std::uint32_t> order = RandomPermutation(stream, 100);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (std::uint32_t i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(RandomTest, GammaHasItsMean) {
  for (const double shape : {0.3, 1.0, 4.0}) {
    RandomStream stream(7, "gamma");
    double sum = 0;
    for (int i = 0; i < 50000; ++i) sum += stream.NextGamma(shape);
    EXPECT_NEAR(sum / 50000, shape, 0.05 * std::max(1.0, shape));
  }
}

}  // namespace
}  // namespace fedpeft
