// A run's bottleneck adapters, Compacter among them, as a folder of the `adapters` library (AdapterHub). Its folders
// are read by ImportAdapter, as peft's are.
#pragma once

#include <string>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/io/safetensors.h"
#include "peft/params/param_vector.h"

namespace fedpeft {

/// Writes the folder, whose adapter is called `fedpeft` (load_adapter's load_as gives it another name): what
/// `save_adapter(…, use_safetensors=True)` of adapters 1.3.0 writes. `run` and `provenance` are in the safetensors
/// metadata, as in ExportAdapter. Pre: `params` has the layout that the run plans.
/// Errors: kUnimplemented for another method, or a base that the library has no adapters for.
Status ExportLibraryAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder,
                            const StringMap& provenance = {});

/// Whether there is such a folder for the plan. Errors: ExportLibraryAdapter's.
Status CheckLibraryExport(const PeftPlan& plan);

/// What that library calls the tensor `spec` of an adapter called `adapter`.
/// Errors: kUnimplemented for a base that it has no adapters for.
Result<std::string> LibraryName(const TensorSpec& spec, const BaseShape& base, const std::string& adapter);

}  // namespace fedpeft
