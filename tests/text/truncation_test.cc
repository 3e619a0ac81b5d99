#include "peft/text/truncation.h"

#include <gtest/gtest.h>

namespace fedpeft::text {
namespace {

using enum TruncationStrategy;

// Rows of the `tokenizers` package's own tests for budget 7, and vectors measured on it.
TEST(TruncationTest, LongestFirstCutsTheLongerThenHalves) {
  const struct {
    std::size_t first, second, budget, want_first, want_second;
  } rows[] = {{0, 0, 7, 0, 0}, {0, 8, 7, 0, 7}, {2, 8, 7, 2, 5}, {4, 4, 7, 3, 4}, {4, 8, 7, 3, 4}, {8, 4, 7, 4, 3},
              {8, 2, 7, 5, 2}, {8, 8, 7, 3, 4}, {8, 0, 7, 7, 0}, {4, 2, 5, 3, 2}, {2, 5, 5, 2, 3}, {5, 5, 1, 0, 1}};
  for (const auto& row : rows) {
    const auto kept = Truncate(row.first, row.second, row.budget, kLongestFirst);
    ASSERT_TRUE(kept.ok());
    EXPECT_EQ(kept->first, row.want_first) << row.first << "," << row.second;
    EXPECT_EQ(kept->second, row.want_second) << row.first << "," << row.second;
  }
}

TEST(TruncationTest, EveryStrategyMeetsTheBudgetAndNeverLengthens) {
  for (auto strategy : {kLongestFirst, kOnlyFirst, kOnlySecond}) {
    for (std::size_t first = 0; first < 9; ++first) {
      for (std::size_t second = 0; second < 9; ++second) {
        for (std::size_t budget = 0; budget < 20; ++budget) {
          const auto kept = Truncate(first, second, budget, strategy);
          if (!kept.ok()) continue;
          EXPECT_LE(kept->first, first);
          EXPECT_LE(kept->second, second);
          EXPECT_EQ(kept->first + kept->second, std::min(first + second, budget));
        }
      }
    }
  }
}

TEST(TruncationTest, OneTextIsCutAtTheBudget) {
  EXPECT_EQ(Truncate(9, std::nullopt, 4, kLongestFirst)->first, 4u);
  EXPECT_EQ(Truncate(9, std::nullopt, 4, kOnlyFirst)->first, 4u);
  EXPECT_EQ(Truncate(3, std::nullopt, 4, kOnlySecond)->first, 3u);
}

TEST(TruncationTest, RefusesWhenNothingWouldBeLeft) {
  EXPECT_EQ(Truncate(9, std::nullopt, 4, kOnlySecond).status().code(), Code::kOutOfRange);
  EXPECT_EQ(Truncate(2, 6, 4, kOnlyFirst).status().code(), Code::kOutOfRange);
  EXPECT_EQ(Truncate(6, 2, 4, kOnlySecond).status().code(), Code::kOutOfRange);
  EXPECT_EQ(Truncate(6, 2, 4, kOnlyFirst)->first, 2u);
  EXPECT_EQ(Truncate(2, 6, 4, kOnlySecond)->second, 2u);
}

TEST(TruncationTest, NoBudgetKeepsNothing) {
  const auto kept = Truncate(2, 6, 0, kOnlyFirst);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->first + kept->second, 0u);
}

}  // namespace
}  // namespace fedpeft::text
