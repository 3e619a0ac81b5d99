// A trie over byte strings, for finding all entries that a text begins with.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace fedpeft::text {

/// Immutable once built. Threads: every const member is safe on any thread.
class ByteTrie {
 public:
  ByteTrie() = default;
  /// `entries`: texts, none empty, none twice, and their values, which are not negative. The text is copied.
  explicit ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries);

  /// Calls `found(length, value)` for every entry that `text` begins with, the shortest first.
  template <typename Found>
  void ForEachPrefix(std::string_view text, Found found) const {
    if (nodes_.empty()) return;
    const Node* node = &nodes_[0];
    for (std::size_t length = 0; length < text.size();) {
      node = ChildOf(*node, static_cast<std::uint8_t>(text[length]));
      if (node == nullptr) return;
      ++length;
      if (node->value >= 0) found(length, node->value);
    }
  }

 private:
  struct Node {
    std::uint32_t first_child = 0;
    std::uint16_t children = 0;
    std::uint8_t label = 0;
    std::int32_t value = -1;  // none
  };
  const Node* ChildOf(const Node& node, std::uint8_t label) const;

  std::vector<Node> nodes_;  // the children of a node are neighbours, in order of labels
};

}  // namespace fedpeft::text
