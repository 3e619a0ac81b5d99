#include "peft/metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "peft/core/check.h"

namespace fedpeft {

namespace {

std::optional<double> Ratio(const Totals& totals, std::string_view part, std::string_view whole) {
  if (!totals.Has(part) || totals.Get(whole) == 0) return std::nullopt;
  return static_cast<double>(totals.Get(part)) / static_cast<double>(totals.Get(whole));
}

std::optional<double> Loss(const Totals& totals) {
  const auto ratio = Ratio(totals, sum::kLoss, totals.Has(sum::kTokens) ? sum::kTokens : sum::kExamples);
  return ratio ? std::optional(*ratio * kGrid) : std::nullopt;
}

/// Calls use(hit, guess, truth) for every class.
template <typename Use>
void ForEachClass(const Totals& totals, Use use) {
  for (const auto& [name, hit] : totals.sums()) {
    if (!name.starts_with(sum::kHit)) continue;
    const std::string label = name.substr(sum::kHit.size());
    use(static_cast<double>(hit), static_cast<double>(totals.Get(std::string(sum::kGuess) + label)),
        static_cast<double>(totals.Get(std::string(sum::kTruth) + label)));
  }
}

std::optional<double> MacroF1(const Totals& totals) {
  double sum = 0, classes = 0;
  ForEachClass(totals, [&](double hit, double guess, double truth) {
    if (guess + truth == 0) return;
    sum += 2 * hit / (guess + truth);
    ++classes;
  });
  return classes > 0 ? std::optional(sum / classes) : std::nullopt;
}

std::optional<double> Matthews(const Totals& totals) {
  double hits = 0, examples = 0, products = 0, guesses2 = 0, truths2 = 0;
  ForEachClass(totals, [&](double hit, double guess, double truth) {
    hits += hit;
    examples += truth;
    products += guess * truth;
    guesses2 += guess * guess;
    truths2 += truth * truth;
  });
  if (examples == 0) return std::nullopt;
  const double n2 = examples * examples;
  const double scale = std::sqrt((n2 - guesses2) * (n2 - truths2));
  return scale > 0 ? (hits * examples - products) / scale : 0;
}

std::optional<double> Pearson(const Totals& totals) {
  if (!totals.Has(sum::kXY) || totals.examples() == 0) return std::nullopt;
  const double n = static_cast<double>(totals.examples());
  const double x = totals.GetReal(sum::kX), y = totals.GetReal(sum::kY);
  const double variances = (n * totals.GetReal(sum::kXX) - x * x) * (n * totals.GetReal(sum::kYY) - y * y);
  const double value = (n * totals.GetReal(sum::kXY) - x * y) / std::sqrt(variances);
  return std::isfinite(value) ? std::optional(std::clamp(value, -1.0, 1.0)) : std::nullopt;
}

bool SmallerIsBetter(Metric metric) {
  return metric == Metric::kLoss || metric == Metric::kPerplexity;
}

}  // namespace

std::string_view MetricName(Metric metric) {
  constexpr std::array<std::string_view, kMetrics.size()> kNames = {
      "accuracy", "loss", "macro_f1", "matthews", "pearson", "spearman", "perplexity", "token_accuracy"};
  return kNames[static_cast<std::size_t>(metric)];
}

std::optional<double> MetricOf(Metric metric, const Totals& totals) {
  switch (metric) {
    case Metric::kAccuracy:
      return Ratio(totals, sum::kCorrect, sum::kExamples);
    case Metric::kLoss:
      return Loss(totals);
    case Metric::kMacroF1:
      return MacroF1(totals);
    case Metric::kMatthews:
      return Matthews(totals);
    case Metric::kPearson:
      return Pearson(totals);
    case Metric::kSpearman:
      return totals.Has(sum::kSpearman) ? std::optional(totals.GetReal(sum::kSpearman)) : std::nullopt;
    case Metric::kPerplexity:
      return totals.Has(sum::kTokens) && Loss(totals) ? std::optional(std::exp(*Loss(totals))) : std::nullopt;
    case Metric::kTokenAccuracy:
      return Ratio(totals, sum::kTokensCorrect, sum::kTokens);
  }
  FEDPEFT_CHECK(false);
}

std::optional<double> ScoreOf(Metric metric, const Totals& totals) {
  const std::optional<double> value = MetricOf(metric, totals);
  return value && SmallerIsBetter(metric) ? -*value : value;
}

std::vector<std::pair<Metric, double>> MetricsOf(const Totals& totals) {
  std::vector<std::pair<Metric, double>> found;
  for (const Metric metric : kMetrics) {
    if (const auto value = MetricOf(metric, totals)) found.emplace_back(metric, *value);
  }
  return found;
}

Metric MainMetric(const Totals& totals) {
  if (totals.Has(sum::kTokens)) return Metric::kPerplexity;
  return totals.Has(sum::kXY) ? Metric::kPearson : Metric::kAccuracy;
}

}  // namespace fedpeft
