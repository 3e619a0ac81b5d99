// Targets: the words by which a run, or an adapter's configuration, names linears of a base.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/plan/sites.h"

namespace fedpeft {

/// All linears of the base, in a list of targets. The classification head is none of them.
inline constexpr std::string_view kAllLinear = "all-linear";

/// By peft's rule (MatchesModule).
bool MatchesAnyTarget(std::string_view path, const std::vector<std::string>& targets);

/// Those of `sites` that a target matches, in their order. `key` is the key to complain of.
/// Errors: kInvalidArgument when a target matches none (it lists the names that would).
Result<std::vector<Site>> SitesAt(const std::vector<std::string>& targets, const std::vector<Site>& sites,
                                  const std::string& key);

}  // namespace fedpeft
