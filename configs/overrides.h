// Overrides: the command line's `--set path.to.key=value`, put into the tree before it is read, so that they are judged
// as the file's values are.
#pragma once

#include <string_view>
#include <vector>

#include "configs/yaml_tree.h"

namespace fedpeft::configs {

/// Puts the value of the `number`-th `--set path.to.key=value` (from 1) into the tree. The value is YAML; nothing is
/// the empty string. Maps on the way are made; an index may name an item of a list or the one after its last.
void ApplyOverride(std::string_view assignment, int number, YamlNode* root, std::vector<Finding>* findings);

}  // namespace fedpeft::configs
