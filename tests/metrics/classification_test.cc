#include "peft/metrics/classification.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace fedpeft {
namespace {

TEST(ClassificationTotalsTest, IsTheRatioOfSumsAndNotTheMeanOfRatios) {
  ClassificationTotals totals;
  ASSERT_TRUE(totals.Add(90, 90, 9).ok());
  ASSERT_TRUE(totals.Add(10, 0, 21).ok());
  EXPECT_DOUBLE_EQ(*totals.accuracy(), 0.9);
  EXPECT_DOUBLE_EQ(*totals.mean_loss(), 0.3);
  EXPECT_EQ(totals.examples(), 100u);
  EXPECT_EQ(totals.correct(), 90u);
}

TEST(ClassificationTotalsTest, NoExamplesNoMetric) {
  ClassificationTotals totals;
  ASSERT_TRUE(totals.Add(0, 0, 0).ok());
  EXPECT_FALSE(totals.accuracy().has_value());
  EXPECT_FALSE(totals.mean_loss().has_value());
}

TEST(ClassificationTotalsTest, SameBitsForEveryOrderOfArrival) {
  // As doubles, 1e9 + 0.1 + 0.1 and 0.1 + 0.1 + 1e9 differ.
  ClassificationTotals rising;
  ClassificationTotals falling;
  const std::vector<double> losses = {1e9, 0.1, 0.1, 0.7, 1e-3};
  for (std::size_t i = 0; i < losses.size(); ++i) {
    ASSERT_TRUE(rising.Add(3, 1, losses[i]).ok());
    ASSERT_TRUE(falling.Add(3, 1, losses[losses.size() - 1 - i]).ok());
  }
  EXPECT_EQ(*rising.mean_loss(), *falling.mean_loss());
  EXPECT_EQ(*rising.accuracy(), *falling.accuracy());
}

TEST(ClassificationTotalsTest, ImpossibleClaimsAreRefusedAndChangeNothing) {
  ClassificationTotals totals;
  ASSERT_TRUE(totals.Add(10, 5, 2).ok());
  EXPECT_EQ(totals.Add(10, 11, 2).code(), Code::kInvalidArgument);
  for (const double loss : {-1e-9, std::nan(""), HUGE_VAL, 0x1p40}) {
    EXPECT_EQ(totals.Add(10, 5, loss).code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(totals.Add(std::numeric_limits<std::uint64_t>::max(), 5, 2).code(), Code::kOutOfRange);
  EXPECT_EQ(totals.Add(std::uint64_t{1} << 63, 5, 2).code(), Code::kOutOfRange);
  EXPECT_DOUBLE_EQ(*totals.accuracy(), 0.5);
  EXPECT_DOUBLE_EQ(*totals.mean_loss(), 0.2);
}

}  // namespace
}  // namespace fedpeft
