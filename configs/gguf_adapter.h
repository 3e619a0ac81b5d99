// A run's LoRA as a GGUF adapter, which llama.cpp puts on the base's own GGUF file (`--lora`).
#pragma once

#include <string>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/params/param_vector.h"

namespace fedpeft {

/// Writes the file. The file has one alpha, and llama.cpp scales each pair by alpha / its rank: what a pair's true
/// scale is beyond that (patterns, rsLoRA) is folded into its B. Rows of queries' and keys' B are in the order in which
/// llama.cpp keeps the rows of a Llama's. Pre: `params` has the layout that the run plans.
/// Errors: kUnimplemented for what llama.cpp cannot put on a base: another method, DoRA, a classifier, an encoder; each
/// with the reason. Source: llama.cpp, convert_lora_to_gguf.py and llama-adapter.cpp.
Status ExportGgufAdapter(const RunSpec& run, const ParamVector& params, const std::string& path);

}  // namespace fedpeft
