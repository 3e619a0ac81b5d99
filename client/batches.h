// The order in which a client's rows are trained on: random, yet with rows of near length in one batch, so that little
// of attention is spent on padding.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "peft/core/random.h"

namespace fedpeft::client {

/// Indices into the rows.
using BatchPlan = std::vector<std::vector<std::uint32_t>>;

/// Tells the random streams of one client from those of the others.
std::uint64_t StreamId(const std::string& client);

/// What ShuffledBatches draws from when `client` trains in `round`.
RandomStream OrderStream(std::uint64_t seed, std::uint32_t round, const std::string& client);

/// One pass over all rows: shuffled, sorted by length within windows of 16 batches, cut, and the batches shuffled.
BatchPlan ShuffledBatches(std::span<const std::uint32_t> lengths, std::size_t batch_size, RandomStream& stream);

/// One pass in ascending length, for evaluation. A batch has at most `batch_size` rows of at most `tokens` together, or
/// is a single longer row.
BatchPlan SortedBatches(std::span<const std::uint32_t> lengths, std::size_t batch_size, std::size_t tokens);

}  // namespace fedpeft::client
