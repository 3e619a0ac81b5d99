#include "peft/text/merges.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <optional>
#include <queue>
#include <tuple>

namespace fedpeft::text {

namespace {

// Up to this many symbols, looking through all pairs for the best is faster than a queue.
constexpr std::size_t kShort = 32;
constexpr std::uint32_t kNoRank = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

std::uint64_t PairOf(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

/// A pair that waits for being merged; out of date when its left symbol no longer has these neighbours.
struct Candidate {
  std::uint32_t rank;
  std::size_t at;  // of the left symbol
  std::int32_t left, right, merged;

  /// For std::priority_queue, whose top is the largest.
  bool operator<(const Candidate& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
};

struct Link {
  std::size_t previous, next;  // kNone at the ends
};

}  // namespace

Merges::Merges(std::size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

std::size_t Merges::SlotOf(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = (pair * 0x9E3779B97F4A7C15u >> 24) & mask;
  while (slots_[at].pair != pair && slots_[at].pair != kEmpty) at = (at + 1) & mask;
  return at;
}

void Merges::Insert(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t pair = PairOf(left, right);
  slots_[SlotOf(pair)] = {pair, merge};
}

const Merges::Merge* Merges::Find(std::int32_t left, std::int32_t right) const {
  const Slot& slot = slots_[SlotOf(PairOf(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

void Merges::Apply(std::vector<std::int32_t>& symbols) const {
  symbols.size() <= kShort ? ApplyShort(symbols) : ApplyLong(symbols);
}

void Merges::ApplyShort(std::vector<std::int32_t>& symbols) const {
  Merge merges[kShort];  // of each symbol with the next
  std::size_t size = symbols.size();
  const auto look_up = [&](std::size_t at) {
    const Merge* found = at + 1 < size ? Find(symbols[at], symbols[at + 1]) : nullptr;
    merges[at] = found != nullptr ? *found : Merge{kNoRank, 0};
  };
  for (std::size_t at = 0; at < size; ++at) look_up(at);
  while (size > 1) {
    const Merge* best = std::min_element(merges, merges + size, [](auto& a, auto& b) { return a.rank < b.rank; });
    if (best->rank == kNoRank) break;
    const auto at = static_cast<std::size_t>(best - merges);
    symbols[at] = best->merged;
    std::copy(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 2,
              symbols.begin() + static_cast<std::ptrdiff_t>(size),
              symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    std::copy(merges + at + 2, merges + size, merges + at + 1);
    --size;
    look_up(at);
    if (at > 0) look_up(at - 1);
  }
  symbols.resize(size);
}

void Merges::ApplyLong(std::vector<std::int32_t>& symbols) const {
  std::vector<Link> links(symbols.size());
  std::vector<Candidate> waiting;
  const auto candidate = [&](std::size_t left, std::size_t right) -> std::optional<Candidate> {
    const Merge* found = Find(symbols[left], symbols[right]);
    if (found == nullptr) return std::nullopt;
    return Candidate{found->rank, left, symbols[left], symbols[right], found->merged};
  };
  for (std::size_t at = 0; at < symbols.size(); ++at) {
    const bool last = at + 1 == symbols.size();
    links[at] = {at == 0 ? kNone : at - 1, last ? kNone : at + 1};
    if (last) break;
    if (const auto pair = candidate(at, at + 1)) waiting.push_back(*pair);
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(waiting));
  std::vector<bool> gone(symbols.size());
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    const std::size_t right = gone[best.at] ? kNone : links[best.at].next;
    if (right == kNone || symbols[best.at] != best.left || symbols[right] != best.right) continue;
    symbols[best.at] = best.merged;
    gone[right] = true;
    const std::size_t next = links[right].next, previous = links[best.at].previous;
    links[best.at].next = next;
    if (next != kNone) {
      links[next].previous = best.at;
      if (const auto pair = candidate(best.at, next)) queue.push(*pair);
    }
    if (previous != kNone) {
      if (const auto pair = candidate(previous, best.at)) queue.push(*pair);
    }
  }
  std::size_t kept = 0;
  for (std::size_t at = 0; at < symbols.size(); ++at) {
    if (!gone[at]) symbols[kept++] = symbols[at];
  }
  symbols.resize(kept);
}

}  // namespace fedpeft::text
