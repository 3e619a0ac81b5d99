#include "peft/metrics/counting.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "peft/core/check.h"

namespace fedpeft {

namespace {

struct ClassCounts {
  std::int64_t hit = 0;
  std::int64_t guess = 0;
  std::int64_t truth = 0;
};

/// Twice the rank of each value from 1 on, equal values sharing the mean of their ranks (hence twice: integers).
std::vector<double> TwiceRanks(std::span<const float> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end + 1);
  }
  return ranks;
}

/// Pearson's coefficient of the ranks; NaN when all values of a side are equal. The mean of twice the ranks is n + 1.
double Spearman(std::span<const float> x, std::span<const float> y) {
  const std::vector<double> ranks_x = TwiceRanks(x), ranks_y = TwiceRanks(y);
  const double mean = static_cast<double>(x.size()) + 1;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double dx = ranks_x[i] - mean, dy = ranks_y[i] - mean;
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  return xy / std::sqrt(xx * yy);
}

}  // namespace

Result<Totals> CountClasses(std::span<const std::int64_t> guesses, std::span<const std::int64_t> truths,
                            std::int64_t labels, double loss) {
  FEDPEFT_CHECK(guesses.size() == truths.size());
  std::map<std::int64_t, ClassCounts> classes;
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    ++classes[guesses[i]].guess;
    ++classes[truths[i]].truth;
    if (guesses[i] != truths[i]) continue;
    ++classes[truths[i]].hit;
    ++correct;
  }
  Totals totals;
  RETURN_IF_ERROR(totals.Add(sum::kExamples, static_cast<std::int64_t>(guesses.size())));
  RETURN_IF_ERROR(totals.Add(sum::kCorrect, correct));
  RETURN_IF_ERROR(totals.AddReal(sum::kLoss, loss));
  if (labels > kMaxCountedClasses) return totals;
  for (const auto& [label, counts] : classes) {
    const std::string number = std::to_string(label);
    RETURN_IF_ERROR(totals.Add(std::string(sum::kHit) + number, counts.hit));
    RETURN_IF_ERROR(totals.Add(std::string(sum::kGuess) + number, counts.guess));
    RETURN_IF_ERROR(totals.Add(std::string(sum::kTruth) + number, counts.truth));
  }
  return totals;
}

Result<Totals> CountValues(std::span<const float> guesses, std::span<const float> truths) {
  FEDPEFT_CHECK(guesses.size() == truths.size());
  Totals totals;
  RETURN_IF_ERROR(totals.Add(sum::kExamples, static_cast<std::int64_t>(guesses.size())));
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    const double x = guesses[i], y = truths[i];
    RETURN_IF_ERROR(totals.AddReal(sum::kLoss, (x - y) * (x - y)));
    RETURN_IF_ERROR(totals.AddReal(sum::kX, x));
    RETURN_IF_ERROR(totals.AddReal(sum::kY, y));
    RETURN_IF_ERROR(totals.AddReal(sum::kXX, x * x));
    RETURN_IF_ERROR(totals.AddReal(sum::kYY, y * y));
    RETURN_IF_ERROR(totals.AddReal(sum::kXY, x * y));
  }
  const double spearman = Spearman(guesses, truths);
  if (std::isfinite(spearman)) RETURN_IF_ERROR(totals.AddReal(sum::kSpearman, spearman));
  return totals;
}

Result<Totals> CountTokens(std::int64_t examples, std::int64_t tokens, std::int64_t correct, double loss) {
  Totals totals;
  RETURN_IF_ERROR(totals.Add(sum::kExamples, examples));
  RETURN_IF_ERROR(totals.Add(sum::kTokens, tokens));
  RETURN_IF_ERROR(totals.Add(sum::kTokensCorrect, correct));
  RETURN_IF_ERROR(totals.AddReal(sum::kLoss, loss));
  return totals;
}

}  // namespace fedpeft
