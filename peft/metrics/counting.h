// From the answers of one evaluation to its Totals, problem by problem.
#pragma once

#include <cstdint>
#include <span>

#include "peft/core/status.h"
#include "peft/metrics/totals.h"

namespace fedpeft {

/// Runs with more labels are counted without their classes: three sums each have to fit in a message.
inline constexpr std::int64_t kMaxCountedClasses = 10'000;

/// `guesses` and `truths` are class indices below `labels`; `loss` the sum of nats. Classes nobody meant or guessed
/// take no room. Pre: equal sizes. Errors: Totals::Add's.
Result<Totals> CountClasses(std::span<const std::int64_t> guesses, std::span<const std::int64_t> truths,
                            std::int64_t labels, double loss);

/// Squared errors, moments for Pearson's coefficient, and Spearman's coefficient of these values. Moments are rounded
/// to kGrid a value: labels want a scale of 1 or more. Pre: equal sizes. Errors: Totals::Add's.
Result<Totals> CountValues(std::span<const float> guesses, std::span<const float> truths);

/// `examples` of packed documents in which `tokens` were predicted, `correct` of them first; `loss` the sum of nats.
/// Errors: Totals::Add's.
Result<Totals> CountTokens(std::int64_t examples, std::int64_t tokens, std::int64_t correct, double loss);

}  // namespace fedpeft
