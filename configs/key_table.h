// The documentation of every key, made from the schema's field options: Markdown tables for configs/README.md.
#pragma once

#include <string>
#include <string_view>

#include "peft/core/status.h"

namespace fedpeft::configs {

/// `readme` with the tables of a run's keys and of a policy's, one row a key (path, type and range, default, help), in
/// place of what stands between its markers `<!-- keys -->` and `<!-- /keys -->`, `<!-- policy -->` and
/// `<!-- /policy -->`. Errors: kInvalidArgument when it lacks them.
Result<std::string> WithKeyTables(std::string_view readme);

}  // namespace fedpeft::configs
