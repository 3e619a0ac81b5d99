// The three spellings of rotary positions in a config.json, read into one. Internal to peft/plan.
#pragma once

#include "peft/plan/base_config.h"
#include "peft/plan/config_reader.h"

namespace fedpeft {

/// From `rope_parameters` (transformers 5), or `rope_theta` and `rope_scaling` with its `rope_type` or, older, `type`.
/// Kinds and parameters that are not built in are errors of the reader. `max_positions` is what llama3's original
/// length defaults to. Source: transformers, modeling_rope_utils.py.
RopeSettings ReadRope(ConfigReader& reader, std::int64_t max_positions);

}  // namespace fedpeft
