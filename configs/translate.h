// Parts of the translation from RunConfig to plain structs that validation needs too (it checks that planning works).
#pragma once

#include <vector>

#include "configs/run.h"
#include "peft/metrics/metrics.h"
#include "peft/plan/plan.h"

namespace fedpeft::v1 {
class RunConfig;
class Problem;
class SecureAggregation;
class Privacy;
}  // namespace fedpeft::v1

namespace fedpeft::configs {

/// Base, method and labels as planning wants them. Pre: CheckFields finds nothing.
PeftPlan ToPlan(const v1::RunConfig& config);

/// Pre: CheckFields finds nothing.
std::vector<PhaseSpec> ToSchedule(const v1::RunConfig& config);

SecureAggregationSpec ToSecureAggregation(const v1::SecureAggregation& secure);

PrivacySpec ToPrivacy(const v1::Privacy& privacy);

/// What an evaluation of this problem tells; first what `auto` stands for.
std::vector<Metric> MetricsFor(const v1::Problem& problem);

}  // namespace fedpeft::configs
