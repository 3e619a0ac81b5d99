// adapter_config.json as text, to and from AdapterConfig.
#pragma once

#include <string>
#include <string_view>

#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"

namespace fedpeft {

/// The keys that peft 0.21 reads for LoRA, sorted, indented by two. Errors: kInvalidArgument: text that is not UTF-8.
Result<std::string> AdapterConfigToJson(const AdapterConfig& config);

/// The inverse, for peft's files too. target_modules stays empty when it is a pattern instead of a list: the tensors
/// say which modules there are. modules_to_save is sorted, repeats dropped, and holds the heads that SEQ_CLS implies.
/// Errors: kInvalidArgument: malformed, or a value of the wrong type; kUnimplemented: not LoRA, or a variant of it that
/// changes the arithmetic.
Result<AdapterConfig> AdapterConfigFromJson(std::string_view text);

}  // namespace fedpeft
