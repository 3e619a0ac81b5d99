// YAML text -> a small tree that keeps every place. The subset of YAML that a configuration needs: one document of
// maps, lists and scalars. What makes a configuration say something else than it seems to (duplicate and merge keys,
// anchors, aliases, tags, null) is a finding. Nothing is known here of the keys that mean something.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "configs/finding.h"

namespace fedpeft::configs {

struct YamlNode {
  /// kBad: something is wrong with it that a finding reports already.
  enum class Kind { kNull, kScalar, kList, kMap, kBad };
  Kind kind = Kind::kNull;
  Place place;
  /// A scalar's text, its quotes removed.
  std::string text;
  /// A quoted scalar is a string and never a number.
  bool quoted = false;
  /// The items of a list, or the values of a map in the order written.
  std::vector<YamlNode> items;
  /// In a map: the key of this value, and where it stands.
  std::string key;
  Place key_place;

  /// The value of `name` in a map, or null.
  const YamlNode* Find(std::string_view name) const;
};

/// Bounds on what is parsed: far above what a run needs.
inline constexpr std::size_t kMaxYamlBytes = std::size_t{4} << 20;
inline constexpr std::size_t kMaxYamlDepth = 16;

/// Parses one document; adds to `findings` what is wrong, each with its path and place. An empty document is kNull.
YamlNode ParseYaml(std::string_view text, std::vector<Finding>* findings);

}  // namespace fedpeft::configs
