// Metrics: functions of an evaluation's Totals.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "peft/metrics/totals.h"

namespace fedpeft {

enum class Metric { kAccuracy, kLoss, kMacroF1, kMatthews, kPearson, kSpearman, kPerplexity, kTokenAccuracy };
inline constexpr std::array kMetrics = {Metric::kAccuracy,   Metric::kLoss,         Metric::kMacroF1,
                                        Metric::kMatthews,   Metric::kPearson,      Metric::kSpearman,
                                        Metric::kPerplexity, Metric::kTokenAccuracy};

/// `accuracy`, `macro_f1`, …, as configurations and reports spell it.
std::string_view MetricName(Metric metric);

/// Nothing where the evaluation did not count what the metric needs, or it is not defined for what was counted.
/// - Accuracy, token accuracy: a fraction.
/// - Loss: nats an example or a predicted token; of regression the mean squared error.
/// - Macro F1: the mean over classes that occur or were guessed, as sklearn's without `labels`.
/// - Matthews: of many classes (Gorodkin 2004); 0 when everything is of one class, as sklearn's.
/// - Pearson, Spearman: −1 to 1; nothing when one side is constant.
/// - Perplexity: e to the loss a predicted token.
std::optional<double> MetricOf(Metric metric, const Totals& totals);

/// Larger is better: the loss and the perplexity with their sign turned.
std::optional<double> ScoreOf(Metric metric, const Totals& totals);

/// All there are for these totals, in the order above.
std::vector<std::pair<Metric, double>> MetricsOf(const Totals& totals);

/// What such an evaluation is known by: accuracy, Pearson's coefficient or the perplexity.
Metric MainMetric(const Totals& totals);

}  // namespace fedpeft
