// JSON documents of foreign folders (config.json, an index, adapter_config.json) as trees, and back to text. For .cc
// files. Large or line-rate JSON has readers of its own (safetensors_header.cc).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "peft/core/status.h"

namespace fedpeft {

/// Of a file that configures a model or an adapter.
inline constexpr std::uint64_t kMostConfigBytes = 1 << 20;

/// Reads one JSON object. Deeper than 64 levels is refused, because printing and comparing a tree recurse.
/// Errors: kInvalidArgument: not UTF-8, not JSON, not an object, a key twice in one object, or too deep.
Result<nlohmann::json> ParseJsonObject(std::string_view text);

/// Keys in byte order; `indent` spaces a level, or one line without spaces when negative.
/// Errors: kInvalidArgument: a string is not UTF-8.
Result<std::string> DumpJson(const nlohmann::json& value, int indent = -1);

}  // namespace fedpeft
