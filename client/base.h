// The base folder as a client uses it: its dimensions and hashes to compare with a run, its tokenizer, and the path
// from which the trainer loads the weights. Torch-free; reads headers and hashes, no weights into memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/plan/base_shape.h"
#include "peft/text/tokenizer.h"

namespace fedpeft::client {

struct BaseInfo {
  std::string folder;
  BaseShape shape;
  Digest weights{};
  Tokenizer tokenizer;
  /// Numbers in the folder's tensors, heads of tasks left out but a decoder's own; and the bytes that they take there.
  std::int64_t parameters = 0;
  std::uint64_t stored_bytes = 0;
};

/// Errors: those of the folder, its config.json and its tokenizer.json; kInvalidArgument when the tokenizer has more
/// ids than the base has embeddings. Cost: hashes the weights, about 0.1 s for 90 MB.
Result<BaseInfo> OpenBase(const std::string& folder);

/// Whether this base is the run's. Errors: kFailedPrecondition naming both values.
Status CheckBaseIsRuns(const BaseInfo& base, const RunSpec& run);

/// The same for an adapter's; hashes that are all zero, since its folder does not say them, become this base's.
Status CheckBaseIsAdapters(const BaseInfo& base, RunSpec& run);

/// The `base:` and `problem:` blocks of a run's YAML, to paste. `labels` in their order; columns as given.
std::string RunBlocks(const BaseInfo& base, const ProblemSpec& problem);

}  // namespace fedpeft::client
