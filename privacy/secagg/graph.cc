#include "privacy/secagg/graph.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "peft/core/check.h"
#include "privacy/crypto/keystream.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

namespace {

SecretKey OrderKey(const Digest& root) {
  Sha256 hash;
  hash.Update(AsBytes("fedpeft/secagg/v1/graph"));
  hash.Update(root);
  return SecretKey(hash.Finish());
}

/// Uniform below `bound`.
std::uint32_t Draw(Keystream& stream, std::uint32_t bound) {
  const std::uint64_t fair = (std::uint64_t{1} << 32) / bound * bound;
  while (true) {
    std::array<std::uint8_t, 4> bytes;
    stream.Read(bytes);
    if (const auto word = LoadLe<std::uint32_t>(bytes); word < fair) return word % bound;
  }
}

}  // namespace

NeighbourGraph::NeighbourGraph(std::uint32_t clients, std::uint32_t degree, const Digest& root)
    : degree_(degree), order_(clients), place_(clients) {
  FEDPEFT_CHECK(clients >= 2 && degree < clients && (degree % 2 == 0 || degree == clients - 1));
  std::iota(order_.begin(), order_.end(), 0u);
  Keystream stream(OrderKey(root));
  for (std::uint32_t last = clients - 1; last > 0; --last) std::swap(order_[last], order_[Draw(stream, last + 1)]);
  for (std::uint32_t place = 0; place < clients; ++place) place_[order_[place]] = place;
}

bool NeighbourGraph::AreNeighbours(std::uint32_t a, std::uint32_t b) const {
  if (a == b) return false;
  const std::uint32_t apart = place_[a] > place_[b] ? place_[a] - place_[b] : place_[b] - place_[a];
  return degree_ + 1 == clients() || std::min(apart, clients() - apart) <= degree_ / 2;
}

std::vector<std::uint32_t> NeighbourGraph::NeighboursOf(std::uint32_t client) const {
  FEDPEFT_CHECK(client < clients());
  std::vector<std::uint32_t> neighbours;
  neighbours.reserve(degree_);
  const std::uint32_t before = degree_ / 2;
  for (std::uint32_t step = 0; step <= degree_; ++step) {
    const std::uint32_t neighbour = order_[(place_[client] + clients() - before + step) % clients()];
    if (neighbour != client) neighbours.push_back(neighbour);
  }
  std::ranges::sort(neighbours);
  return neighbours;
}

}  // namespace fedpeft::privacy
