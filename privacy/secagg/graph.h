// Who is whose neighbour in a cohort: a ring in an order that nobody chooses, each client beside the nearest ones. Both
// sides derive it from the keys that everybody advertised, so that a coordinator cannot deal a client its neighbours.
#pragma once

#include <cstdint>
#include <vector>

#include "peft/core/hash.h"

namespace fedpeft::privacy {

/// A Harary graph on a permutation: i and j are neighbours when at most degree/2 apart on the ring. Clients are their
/// places 0 … clients − 1 in the cohort.
class NeighbourGraph {
 public:
  /// `root` is the Merkle root of the cohort's keys. Order: Fisher and Yates's from the last place down, each draw the
  /// next 32-bit word (little-endian) below the largest multiple of the bound, modulo the bound, of AES-256-CTR under
  /// SHA-256("fedpeft/secagg/v1/graph" ‖ root).
  /// Pre: clients ≥ 2; degree is even and below clients, or clients − 1.
  NeighbourGraph(std::uint32_t clients, std::uint32_t degree, const Digest& root);

  std::uint32_t clients() const { return static_cast<std::uint32_t>(order_.size()); }
  std::uint32_t degree() const { return degree_; }
  /// Ascending, without `client`. Pre: client < clients().
  std::vector<std::uint32_t> NeighboursOf(std::uint32_t client) const;
  bool AreNeighbours(std::uint32_t a, std::uint32_t b) const;

 private:
  std::uint32_t degree_;
  /// Clients along the ring, and each one's place on it.
  std::vector<std::uint32_t> order_, place_;
};

}  // namespace fedpeft::privacy
