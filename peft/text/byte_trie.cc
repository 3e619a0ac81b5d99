#include "peft/text/byte_trie.h"

#include <algorithm>

namespace fedpeft::text {

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries) {
  std::sort(entries.begin(), entries.end());
  struct Open {  // a node whose children are not there yet: the entries from `first` to `last` go through it
    std::size_t node, first, last, depth;
  };
  nodes_.emplace_back();
  std::vector<Open> open = {{0, 0, entries.size(), 0}};
  for (std::size_t done = 0; done < open.size(); ++done) {
    auto [node, first, last, depth] = open[done];
    if (first < last && entries[first].first.size() == depth) nodes_[node].value = entries[first++].second;
    nodes_[node].first_child = static_cast<std::uint32_t>(nodes_.size());
    while (first < last) {
      const auto label = static_cast<std::uint8_t>(entries[first].first[depth]);
      std::size_t end = first;
      while (end < last && static_cast<std::uint8_t>(entries[end].first[depth]) == label) ++end;
      open.push_back({nodes_.size(), first, end, depth + 1});
      nodes_.push_back({.label = label});
      ++nodes_[node].children;
      first = end;
    }
  }
}

const ByteTrie::Node* ByteTrie::ChildOf(const Node& node, std::uint8_t label) const {
  const Node* first = nodes_.data() + node.first_child;
  const Node* last = first + node.children;
  const Node* found =
      std::lower_bound(first, last, label, [](const Node& child, std::uint8_t wanted) { return child.label < wanted; });
  return found == last || found->label != label ? nullptr : found;
}

}  // namespace fedpeft::text
