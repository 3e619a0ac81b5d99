// ExampleBatch: some of the examples, packed for the base.
#pragma once

#include <cstddef>
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

/// What passes through the base as one sequence: `length` tokens from `first` on of an example, that of the batch's
/// `owner`-th row.
struct ExampleSequence {
  std::size_t owner = 0;
  std::size_t first = 0;
  std::size_t length = 0;
};
/// An example is a sequence, or one for each of its documents.
std::vector<ExampleSequence> SequencesOf(std::span<const Example> examples, std::span<const std::uint32_t> rows);

/// The batch of these sequences. Errors: Pack's.
Result<ExampleBatch> PackRows(std::span<const Example> examples, std::span<const std::uint32_t> rows,
                              const SequenceLimits& limits, const Lead& lead);

/// For each sequence its owner.
std::vector<std::int64_t> OwnersOf(std::span<const Example> examples, std::span<const std::uint32_t> rows);

/// In tokens.
std::vector<std::uint32_t> LengthsOf(std::span<const Example> examples);

}  // namespace fedpeft::client
