// An adapter folder on a base, as generation uses it: frozen, its branches at their sites. Free of LibTorch's headers.
#pragma once

#include <memory>

#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

class SiteHook;

/// Copies the tensors; each module may have a rank and a scale of its own.
/// Errors: kInvalidArgument for a module that the base does not have, or of other widths; kUnimplemented for an adapted
/// embedding; kFailedPrecondition for an adapter of another task than CAUSAL_LM, or one with modules saved whole.
Result<std::shared_ptr<const SiteHook>> MakeAdapterHook(const AdapterFolder& adapter, const BaseShape& base);

}  // namespace fedpeft
