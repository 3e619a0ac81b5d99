#include "peft/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "peft/metrics/counting.h"

namespace fedpeft {
namespace {

// Goldens of scikit-learn 1.5.2 and scipy 1.17.1, from these lists:
//   python -c 'from sklearn.metrics import f1_score, matthews_corrcoef as m; g=[0,1,2,2,1,0,3,1,2,0];
//   t=[0,1,1,2,1,2,2,1,0,0]; print(f1_score(t, g, average="macro"), m(t, g))'
//   python -c 'from scipy.stats import pearsonr as p, spearmanr as s; x=[.5,2.25,1.5,4,3,2.25,-1];
//   y=[1,2,2,5,2.5,3.5,0]; print(p(x, y)[0], s(x, y)[0])'
constexpr std::array<std::int64_t, 10> kGuesses = {0, 1, 2, 2, 1, 0, 3, 1, 2, 0};
constexpr std::array<std::int64_t, 10> kTruths = {0, 1, 1, 2, 1, 2, 2, 1, 0, 0};
constexpr double kMacroF1 = 0.46428571428571425, kMatthews = 0.4351941398892446;
constexpr std::array<float, 7> kX = {0.5F, 2.25F, 1.5F, 4, 3, 2.25F, -1};
constexpr std::array<float, 7> kY = {1, 2, 2, 5, 2.5F, 3.5F, 0};
constexpr double kPearson = 0.9186217303263176, kSpearman = 0.9181818181818182;
/// Of values that are multiples of the grid, sums are exact; what is left is a division and a root.
constexpr double kRounding = 1e-12;

Totals Classes(std::size_t begin, std::size_t end, double loss = 1) {
  return CountClasses(std::span(kGuesses).subspan(begin, end - begin), std::span(kTruths).subspan(begin, end - begin),
                      /*labels=*/5, loss)
      .value();
}
Totals Values(std::size_t begin, std::size_t end) {
  return CountValues(std::span(kX).subspan(begin, end - begin), std::span(kY).subspan(begin, end - begin)).value();
}
Totals Joined(const std::vector<Totals>& parts) {
  Totals all;
  for (const Totals& part : parts) EXPECT_TRUE(all.Join(part).ok());
  return all;
}

TEST(MetricsTest, ClassificationIsWhatSklearnComputes) {
  const Totals totals = Classes(0, 10, 12.5);
  EXPECT_DOUBLE_EQ(*MetricOf(Metric::kAccuracy, totals), 0.6);
  EXPECT_DOUBLE_EQ(*MetricOf(Metric::kLoss, totals), 1.25);
  EXPECT_NEAR(*MetricOf(Metric::kMacroF1, totals), kMacroF1, kRounding);
  EXPECT_NEAR(*MetricOf(Metric::kMatthews, totals), kMatthews, kRounding);
  EXPECT_EQ(MainMetric(totals), Metric::kAccuracy);
  EXPECT_EQ(MetricsOf(totals).size(), 4u);
}

TEST(MetricsTest, CorrelationsAreWhatScipyComputes) {
  const Totals totals = Values(0, 7);
  EXPECT_NEAR(*MetricOf(Metric::kPearson, totals), kPearson, kRounding);
  // One value, rounded to the grid.
  EXPECT_NEAR(*MetricOf(Metric::kSpearman, totals), kSpearman, kGrid);
  EXPECT_NEAR(*MetricOf(Metric::kLoss, totals), 0.625, kRounding);
  EXPECT_EQ(MainMetric(totals), Metric::kPearson);
}

TEST(MetricsTest, PerplexityIsOfTokensAndNotOfExamples) {
  const Totals totals = Joined({CountTokens(1, 3, 1, 6).value(), CountTokens(2, 1, 1, 2).value()});
  EXPECT_DOUBLE_EQ(*MetricOf(Metric::kLoss, totals), 2);
  EXPECT_DOUBLE_EQ(*MetricOf(Metric::kPerplexity, totals), std::exp(2.0));
  EXPECT_DOUBLE_EQ(*MetricOf(Metric::kTokenAccuracy, totals), 0.5);
  EXPECT_DOUBLE_EQ(*ScoreOf(Metric::kPerplexity, totals), -std::exp(2.0));
  EXPECT_FALSE(MetricOf(Metric::kAccuracy, totals).has_value());
}

TEST(MetricsTest, ClientsTogetherAreOneEvaluationInEveryOrder) {
  const Totals whole = Classes(0, 10, 3);
  EXPECT_EQ(Joined({Classes(0, 1), Classes(1, 7), Classes(7, 10)}), whole);
  EXPECT_EQ(Joined({Classes(7, 10), Classes(0, 1), Classes(1, 7)}), whole);
  const Totals values = Joined({Values(0, 2), Values(2, 7)});
  EXPECT_EQ(values, Joined({Values(2, 7), Values(0, 2)}));
  EXPECT_EQ(*MetricOf(Metric::kPearson, values), *MetricOf(Metric::kPearson, Values(0, 7)));
}

TEST(MetricsTest, RanksOfSeveralBoxesDoNotAdd) {
  EXPECT_TRUE(MetricOf(Metric::kSpearman, Joined({Values(0, 7)})).has_value());
  EXPECT_FALSE(MetricOf(Metric::kSpearman, Joined({Values(0, 3), Values(3, 7)})).has_value());
  EXPECT_FALSE(MetricOf(Metric::kSpearman, Joined({Values(0, 2), Values(2, 4), Values(4, 7)})).has_value());
}

TEST(MetricsTest, WhatIsNotDefinedIsNotTold) {
  EXPECT_TRUE(MetricsOf({}).empty());
  const std::array<float, 2> same = {1, 1}, other = {1, 2};
  const Totals constant = CountValues(same, other).value();
  EXPECT_FALSE(MetricOf(Metric::kPearson, constant).has_value());
  EXPECT_FALSE(MetricOf(Metric::kSpearman, constant).has_value());
  const std::array<std::int64_t, 2> zeros = {0, 0};
  EXPECT_EQ(*MetricOf(Metric::kMatthews, CountClasses(zeros, zeros, 2, 0).value()), 0);
  EXPECT_FALSE(MetricOf(Metric::kMacroF1, CountClasses(zeros, zeros, kMaxCountedClasses + 1, 0).value()).has_value());
}

TEST(TotalsTest, ImpossibleClaimsAreRefused) {
  const auto refused = [](const Totals& honest, std::string_view name, std::int64_t more) {
    Totals claim = honest;
    EXPECT_TRUE(claim.Add(name, more).ok());
    return CheckTotals(claim).code() == Code::kInvalidArgument;
  };
  EXPECT_TRUE(CheckTotals(Classes(0, 10)).ok() && CheckTotals(Values(0, 7)).ok());
  EXPECT_FALSE(CheckTotals({}).ok());
  for (const auto& [name, more] : std::vector<std::pair<std::string_view, std::int64_t>>{
           {"correct", 5},
           {"loss", -2 << 20},
           {"loss", std::numeric_limits<std::int64_t>::max() - (1 << 20)},
           {"hit.3", 1},
           {"guess.0", 1},
           {"truth.1", -1},
           {"hit.x", 0},
           {"secret", 1},
           {"examples", -10},
           {"tokens_correct", 1},
           {"tokens", 0},
           {"spearman", 1 << 21}}) {
    EXPECT_TRUE(refused(Classes(0, 10), name, more)) << name << " " << more;
  }
}

TEST(TotalsTest, SumsBeyondTheirRangeAreRefusedAndChangeNothing) {
  Totals totals = Classes(0, 10), most;
  const Totals before = totals;
  ASSERT_TRUE(most.Add(sum::kExamples, std::numeric_limits<std::int64_t>::max()).ok());
  EXPECT_EQ(totals.Join(most).code(), Code::kOutOfRange);
  EXPECT_EQ(totals.AddReal(sum::kLoss, std::numeric_limits<double>::quiet_NaN()).code(), Code::kOutOfRange);
  EXPECT_EQ(totals.AddReal(sum::kLoss, 0x1p42).code(), Code::kOutOfRange);
  EXPECT_EQ(totals, before);
}

TEST(TotalsTest, TextGoesThereAndBack) {
  const Totals totals = Values(0, 7);
  const std::string text = TotalsText(totals);
  EXPECT_EQ(TotalsFromText(text).value(), totals);
  for (std::size_t length = 0; length < text.size(); ++length) {
    const auto part = TotalsFromText(std::string_view(text).substr(0, length));
    EXPECT_TRUE(!part.ok() || *part != totals);
  }
  for (const char* bad : {"x", "x 1", "x 1\nx 2\n", "x 1.5\n", "\n"}) EXPECT_FALSE(TotalsFromText(bad).ok()) << bad;
}

}  // namespace
}  // namespace fedpeft
