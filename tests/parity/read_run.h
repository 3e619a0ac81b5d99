// A run's YAML as plain structs, for units that see LibTorch and so must not see our messages.
#pragma once

#include <string>

#include "configs/run.h"
#include "peft/core/status.h"

namespace fedpeft {

Result<RunSpec> ReadRunSpec(const std::string& path);

}  // namespace fedpeft
