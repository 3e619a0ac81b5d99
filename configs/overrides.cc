#include "configs/overrides.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace fedpeft::configs {

namespace {

using Kind = YamlNode::Kind;

void SetPlace(int number, YamlNode* node) {
  node->place = node->key_place = {0, 0, number};
  for (YamlNode& item : node->items) SetPlace(number, &item);
}

bool IsIndex(std::string_view name) {
  return !name.empty() && name.size() <= 6 && name.find_first_not_of("0123456789") == std::string_view::npos;
}

/// The child `name` of `node`, made when it is not there; null when an index is past the end of a list.
YamlNode* Descend(std::string_view name, int number, YamlNode* node) {
  if (node->kind != Kind::kMap && node->kind != Kind::kList) {
    node->kind = IsIndex(name) ? Kind::kList : Kind::kMap;
    node->items.clear();
  }
  YamlNode made;
  SetPlace(number, &made);
  if (node->kind == Kind::kMap) {
    const auto found =
        std::find_if(node->items.begin(), node->items.end(), [&](const YamlNode& item) { return item.key == name; });
    if (found != node->items.end()) return &*found;
    made.key = name;
    return &node->items.emplace_back(std::move(made));
  }
  std::size_t index = 0;
  if (!IsIndex(name)) return nullptr;
  std::from_chars(name.data(), name.data() + name.size(), index);
  if (index > node->items.size()) return nullptr;
  if (index == node->items.size()) node->items.push_back(std::move(made));
  return &node->items[index];
}

/// The value's text as a tree whose findings and places name the `--set`.
YamlNode ParseValue(std::string_view text, const std::string& path, int number, std::vector<Finding>* findings) {
  YamlNode value;
  if (text.empty()) {
    value.kind = Kind::kScalar;
    value.quoted = true;
  } else {
    std::vector<Finding> own;
    value = ParseYaml(text, &own);
    if (value.kind == Kind::kNull) {
      own.push_back({"", "got null, want a value"});
      value.kind = Kind::kBad;
    }
    for (Finding& finding : own) {
      findings->push_back(
          {finding.path.empty() ? path : JoinKey(path, finding.path), std::move(finding.message), {0, 0, number}});
    }
  }
  SetPlace(number, &value);
  return value;
}

}  // namespace

void ApplyOverride(std::string_view assignment, int number, YamlNode* root, std::vector<Finding>* findings) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    findings->push_back({"", "got " + Quoted(assignment) + ", want path.to.key=value", {0, 0, number}});
    return;
  }
  const std::string path(assignment.substr(0, equals));
  if (static_cast<std::size_t>(std::count(path.begin(), path.end(), '.')) >= kMaxYamlDepth) {
    findings->push_back({"", "got a path that is too deep, want a key of the configuration", {0, 0, number}});
    return;
  }
  YamlNode* node = root;
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t dot = std::min(path.find('.', start), path.size());
    node = Descend(std::string_view(path).substr(start, dot - start), number, node);
    if (node == nullptr) {
      findings->push_back(
          {path, "has no such item in the list before it, want an index up to its length", {0, 0, number}});
      return;
    }
    start = dot + 1;
  }
  YamlNode value = ParseValue(assignment.substr(equals + 1), path, number, findings);
  value.key = std::move(node->key);
  *node = std::move(value);
}

}  // namespace fedpeft::configs
