// A run's trained parameters as a Hugging Face PEFT adapter folder, and an adapter folder as parameters that can be
// evaluated: the coordinator's `export`, the client's `train`, `evaluate` and `predict`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/io/safetensors.h"
#include "peft/params/param_vector.h"

namespace fedpeft {

/// Writes the folder; loads in `peft` as it is. The safetensors metadata carry what fedpeft itself wants back (labels,
/// columns, base hash), and `provenance`. Pre: `params` has the layout that the run plans.
/// Errors: WriteAdapterFolder's.
Status ExportAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder,
                     const StringMap& provenance = {});

/// What an adapter folder says: enough of a run to evaluate it (base, problem, plan; training settings are the
/// defaults, hashes all zero when the folder does not say), and its parameters.
struct ImportedAdapter {
  RunSpec run;
  ParamVector params;
};

/// Reads a LoRA folder for sequence classification or language modelling on a base of that shape, fedpeft's or
/// `peft`'s. Without fedpeft's metadata the labels are LABEL_0, LABEL_1, … and the columns the defaults. Errors:
/// ReadAdapterFolder's; kUnimplemented for ranks or alphas that differ between modules, or other modules that were
/// trained; kInvalidArgument for tensors that do not fit the base.
Result<ImportedAdapter> ImportAdapter(const std::string& folder, const BaseShape& base);

}  // namespace fedpeft
