// Base values: what tensors that travel as offsets are offset from. The coordinator has no use for them; whoever needs
// absolute values, or begins from some, has the base's folder.
#pragma once

#include "peft/core/status.h"
#include "peft/io/model_folder.h"
#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"

namespace fedpeft {

/// Whether the tensor's values are offsets from the base's.
bool IsOffset(const TensorSpec& spec);

/// Adds to each tensor that is an offset `sign` times what it is offset from: of kOffset the base's parameter of its
/// name, of kMagnitude the length of each row of the site's weight, of kPromptOffset the vectors of the prompt's
/// tokens. Pre: `params` has the layout that the plan makes; a prompt is resolved (prompt_start.h). Errors: those of
/// finding the base's tensors.
Status AddBaseValues(const ModelFolder& base, const PeftPlan& plan, float sign, ParamVector& params);

}  // namespace fedpeft
