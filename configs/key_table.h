// The documentation of every key, made from the schema's field options: one Markdown table, for configs/README.md and
// the command line.
#pragma once

#include <string>
#include <string_view>

#include "peft/core/status.h"

namespace fedpeft::configs {

/// One row a key: path, type and range, default, help.
std::string KeyTable();

/// `readme` with what stands between its markers `<!-- keys -->` and `<!-- /keys -->` replaced by the table.
/// Errors: kInvalidArgument when it lacks them.
Result<std::string> WithKeyTable(std::string_view readme);

}  // namespace fedpeft::configs
