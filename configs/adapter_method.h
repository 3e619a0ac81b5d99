// A method's settings and adapter_config.json, both ways. Internal to configs: others use adapter.h.
#pragma once

#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"
#include "peft/plan/plan.h"

namespace fedpeft {

/// Of a folder; peft may train some norms, ours are all of them. Errors: kInvalidArgument or kUnimplemented for
/// settings that are none of ours.
Result<MethodConfig> MethodOf(const AdapterFolder& adapter, const BaseShape& base);

/// What the method has in the configuration, beyond what all have.
void WriteMethod(const PeftPlan& plan, AdapterConfig& config);

/// Whether two methods of one layout compute the same from the same values.
bool ComputeAlike(const PeftPlan& a, const PeftPlan& b);

}  // namespace fedpeft
