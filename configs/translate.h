// Parts of the translation from RunConfig to plain structs that validation needs too (it checks that planning works).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "peft/core/hash.h"
#include "peft/metrics/metrics.h"
#include "peft/plan/plan.h"

namespace fedpeft::v1 {
class RunConfig;
class Problem;
}

namespace fedpeft::configs {

/// 64 hexadecimal digits of either case.
std::optional<Digest> ParseDigest(std::string_view text);

/// Base, method and labels as planning wants them. Pre: CheckFields finds nothing.
PeftPlan ToPlan(const v1::RunConfig& config);

/// What an evaluation of this problem tells; first what `auto` stands for.
std::vector<Metric> MetricsFor(const v1::Problem& problem);

}  // namespace fedpeft::configs
