// ExampleBatch: some of the examples, packed for the base.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "client/example.h"
#include "peft/core/status.h"
#include "peft/model/packed_batch.h"

namespace fedpeft::client {

/// Rows of the examples that pass through the base together.
struct ExampleBatch {
  std::span<const Example> examples;
  std::span<const std::uint32_t> rows;
  PackedBatch packed;
};

/// An example is a sequence, or one for each of its documents. Errors: Pack's.
Result<ExampleBatch> PackRows(std::span<const Example> examples, std::span<const std::uint32_t> rows,
                              const SequenceLimits& limits, const Lead& lead);

/// For each sequence of PackRows the place in `rows` of its example.
std::vector<std::int64_t> OwnersOf(std::span<const Example> examples, std::span<const std::uint32_t> rows);

/// In tokens.
std::vector<std::uint32_t> LengthsOf(std::span<const Example> examples);

}  // namespace fedpeft::client
