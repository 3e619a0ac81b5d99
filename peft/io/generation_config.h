// What a model folder says about generating text: where it ends. Sampling is the caller's choice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft {

/// The ids that end a text: `eos_token_id` of generation_config.json where the folder has one, else of config.json, a
/// number or a list; empty where it is null or left out. (Also in transformers the first file hides the second.)
/// Errors: those of reading a file; kInvalidArgument for anything but token ids.
Result<std::vector<std::int32_t>> ReadEndIds(const std::string& folder);

}  // namespace fedpeft
