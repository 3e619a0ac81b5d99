#include "client/batches.h"

#include <algorithm>
#include <numeric>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"

namespace fedpeft::client {

namespace {

constexpr std::size_t kWindowBatches = 16;

void SortByLength(std::span<std::uint32_t> rows, std::span<const std::uint32_t> lengths) {
  std::stable_sort(rows.begin(), rows.end(), [&](auto a, auto b) { return lengths[a] < lengths[b]; });
}

void Cut(std::span<const std::uint32_t> rows, std::size_t batch_size, BatchPlan& plan) {
  for (std::size_t at = 0; at < rows.size(); at += batch_size) {
    const auto batch = rows.subspan(at, std::min(batch_size, rows.size() - at));
    plan.emplace_back(batch.begin(), batch.end());
  }
}

}  // namespace

std::uint64_t StreamId(const std::string& client) {
  return LoadLe<std::uint64_t>(Sha256Of(AsBytes(client)));
}

RandomStream OrderStream(std::uint64_t seed, std::uint32_t round, const std::string& client) {
  return {seed, "order", {round, StreamId(client)}};
}

BatchPlan ShuffledBatches(std::span<const std::uint32_t> lengths, std::size_t batch_size, RandomStream& stream) {
  std::vector<std::uint32_t> rows = RandomPermutation(stream, lengths.size());
  const std::size_t window = batch_size * kWindowBatches;
  for (std::size_t at = 0; at < rows.size(); at += window) {
    SortByLength(std::span(rows).subspan(at, std::min(window, rows.size() - at)), lengths);
  }
  BatchPlan plan;
  Cut(rows, batch_size, plan);
  stream.Shuffle(std::span(plan));
  return plan;
}

BatchPlan SortedBatches(std::span<const std::uint32_t> lengths, std::size_t batch_size, std::size_t tokens) {
  std::vector<std::uint32_t> rows(lengths.size());
  std::iota(rows.begin(), rows.end(), 0u);
  SortByLength(rows, lengths);
  BatchPlan plan;
  std::size_t room = 0;
  for (const std::uint32_t row : rows) {
    if (plan.empty() || plan.back().size() == batch_size || lengths[row] > room) {
      plan.emplace_back();
      room = std::max<std::size_t>(tokens, lengths[row]);
    }
    plan.back().push_back(row);
    room -= lengths[row];
  }
  return plan;
}

}  // namespace fedpeft::client
