// What an adapter folder says of its problem: task type, labels, columns, templates, in the metadata of its weights.
// Internal to configs: others use adapter.h.
#pragma once

#include <string>
#include <string_view>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"

namespace fedpeft {

/// task_type as peft has it.
inline constexpr const char* kCausal = "CAUSAL_LM";
inline constexpr const char* kClassifies = "SEQ_CLS";

/// The value, or `otherwise` when the folder was not written by fedpeft.
std::string MetadataText(const StringMap& metadata, std::string_view key, std::string otherwise);

/// Without fedpeft's metadata the labels are LABEL_0, … and the columns the defaults. Errors: kInvalidArgument for a
/// head that is missing or does not fit, or metadata that do not; kUnimplemented for another task.
Result<ProblemSpec> ProblemOf(const AdapterFolder& adapter, const BaseShape& base);

}  // namespace fedpeft
