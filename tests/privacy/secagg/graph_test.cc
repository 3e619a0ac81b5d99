#include "privacy/secagg/graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

namespace fedpeft::privacy {
namespace {

using ::testing::ElementsAre;

Digest Root(int i) {
  return Sha256Of(AsBytes("root " + std::to_string(i)));
}

struct Size {
  std::uint32_t clients, degree;
};
constexpr Size kSizes[] = {{2, 1}, {5, 4}, {6, 2}, {20, 19}, {20, 18}, {65, 32}, {100, 52}, {1000, 198}};

TEST(NeighbourGraphTest, G3IsRegularAndSymmetric) {
  for (const auto& [clients, degree] : kSizes) {
    const NeighbourGraph graph(clients, degree, Root(1));
    for (std::uint32_t client = 0; client < clients; ++client) {
      const std::vector<std::uint32_t> neighbours = graph.NeighboursOf(client);
      ASSERT_EQ(neighbours.size(), degree);
      EXPECT_EQ(std::ranges::adjacent_find(neighbours, std::greater_equal()), neighbours.end()) << "ascending, once";
      std::vector<std::uint32_t> by_pairs;
      for (std::uint32_t other = 0; other < clients; ++other) {
        if (graph.AreNeighbours(client, other)) by_pairs.push_back(other);
        EXPECT_EQ(graph.AreNeighbours(client, other), graph.AreNeighbours(other, client));
      }
      EXPECT_EQ(neighbours, by_pairs);
    }
  }
}

TEST(NeighbourGraphTest, G3HangsTogether) {
  for (const auto& [clients, degree] : kSizes) {
    const NeighbourGraph graph(clients, degree, Root(2));
    std::vector<bool> seen(clients);
    std::vector<std::uint32_t> todo{0};
    seen[0] = true;
    for (std::size_t i = 0; i < todo.size(); ++i) {
      for (const std::uint32_t neighbour : graph.NeighboursOf(todo[i])) {
        if (!seen[neighbour]) todo.push_back(neighbour);
        seen[neighbour] = true;
      }
    }
    EXPECT_EQ(todo.size(), clients);
  }
}

TEST(NeighbourGraphTest, G4FollowsFromTheRoot) {
  const NeighbourGraph graph(100, 32, Root(1)), same(100, 32, Root(1)), other(100, 32, Root(2));
  int differ = 0;
  for (std::uint32_t client = 0; client < 100; ++client) {
    EXPECT_EQ(graph.NeighboursOf(client), same.NeighboursOf(client));
    differ += graph.NeighboursOf(client) != other.NeighboursOf(client);
  }
  EXPECT_GT(differ, 95);
}

// So that no change of the code deals other neighbours. Made from the rule in the header with `openssl enc` and Python.
TEST(NeighbourGraphTest, G4EqualsTheKnownOrder) {
  const NeighbourGraph graph(12, 4, Sha256Of(AsBytes("kat-root")));
  const std::vector<std::uint32_t> first = graph.NeighboursOf(0), last = graph.NeighboursOf(11);
  EXPECT_THAT(first, ElementsAre(6, 8, 9, 11));
  EXPECT_THAT(last, ElementsAre(0, 1, 3, 6));
}

// Everybody is everybody's neighbour about as often.
TEST(NeighbourGraphTest, OrdersAreUniform) {
  constexpr int kGraphs = 4000;
  std::vector<int> together(50);
  for (int i = 0; i < kGraphs; ++i) {
    for (const std::uint32_t neighbour : NeighbourGraph(50, 10, Root(i)).NeighboursOf(7)) ++together[neighbour];
  }
  const double expected = kGraphs * 10 / 49.0;
  for (std::uint32_t other = 0; other < 50; ++other) {
    EXPECT_NEAR(together[other], other == 7 ? 0 : expected, 5.5 * std::sqrt(expected)) << other;
  }
}

}  // namespace
}  // namespace fedpeft::privacy
