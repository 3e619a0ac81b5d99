// Checkpoint: the global parameters of a round and the server optimiser's state, in one safetensors file. Parameters
// have their layout names, state vectors `server_optimizer/NAME`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "aggregation/server_optimizer.h"
#include "peft/core/status.h"
#include "peft/params/param_vector.h"

namespace fedpeft::server {

/// Immutable once made; shared between the loop and the store thread.
struct Checkpoint {
  ParamVector params;
  /// Each vector has a value per parameter.
  aggregation::OptimizerState optimizer;
};

/// Atomic and durable. Errors: the file's.
Status WriteCheckpoint(const std::string& path, const Checkpoint& checkpoint);

/// Errors: kDataLoss when tensors are missing, unexpected or of another shape than `layout` has; the file's.
Result<Checkpoint> ReadCheckpoint(const std::string& path, std::shared_ptr<const ParamLayout> layout);

}  // namespace fedpeft::server
