// A run's trained parameters as a Hugging Face PEFT adapter folder, and an adapter folder as parameters that can be
// evaluated: the coordinator's `export`, the client's `train`, `evaluate` and `predict`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"
#include "peft/io/safetensors.h"
#include "peft/params/param_vector.h"

namespace fedpeft {

/// Writes the folder; loads in `peft` as it is. The safetensors metadata carry what fedpeft itself wants back (labels,
/// columns, base hash), and `provenance`. Pre: `params` has the layout that the run plans.
/// `base` is the folder of the run's base, which methods whose parameters travel as offsets need; else it may be empty.
/// Errors: WriteAdapterFolder's; kFailedPrecondition for a base that is needed and not given, or is another one.
Status ExportAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder,
                     const std::string& base = "", const StringMap& provenance = {});

/// What a folder of the run's parameters says of them: its configuration, and the metadata of its safetensors file.
AdapterConfig DescribeAdapter(const RunSpec& run);
Result<StringMap> AdapterMetadata(const RunSpec& run);

/// What an adapter folder says: enough of a run to evaluate it (base, problem, plan; training settings are the
/// defaults, hashes all zero when the folder does not say), and its parameters.
struct ImportedAdapter {
  RunSpec run;
  ParamVector params;
  /// Of the run that made it; empty when the folder does not say.
  std::string run_id = {};
  /// The labels are the folder's own, not LABEL_0, LABEL_1, ….
  bool labels_named = false;
};

/// Reads an adapter's folder for sequence classification or language modelling on a base of that shape, fedpeft's,
/// `peft`'s or one of the `adapters` library. Without fedpeft's metadata the labels are LABEL_0, LABEL_1, … and the
/// columns the defaults. `base_folder` is where its weights are. Errors: ReadAdapterFolder's; ExportAdapter's of the
/// base; kUnimplemented for other modules that were trained; kInvalidArgument for tensors that do not fit the base.
Result<ImportedAdapter> ImportAdapter(const std::string& folder, const BaseShape& base, const std::string& base_folder);

/// The values of an adapter folder as those that `run` starts from; fedpeft's or `peft`'s, of the same method, with the
/// same ranks, scales and labels. Errors: ImportAdapter's; kFailedPrecondition for an adapter of something else than
/// the run trains, naming it, or a run that does not share all that it trains, or trains an encoder of virtual tokens.
Result<ParamVector> StartFromAdapter(const std::string& folder, const RunSpec& run, const std::string& base_folder);

}  // namespace fedpeft
