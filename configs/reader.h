// Reader: a YAML tree -> a protobuf message by reflection, and the defaults of the keys that were not given.
#pragma once

#include <vector>

#include "configs/finding.h"
#include "configs/yaml_tree.h"

namespace google::protobuf {
class Message;
}

namespace fedpeft::configs {

/// Reads `root` into `message`; a key that does not fit (unknown, of another type) becomes a finding with its place and
/// is left out. Every key read is in `places`.
void ReadTree(const YamlNode& root, google::protobuf::Message* message, Places* places, std::vector<Finding>* findings);

/// Fills every key that has a default and was not given (is not in `places`), in messages below and in each item of a
/// list too; messages that are not required are made. The defaults are read by the very parser of the file's values.
void FillDefaults(const Places& places, google::protobuf::Message* message);

}  // namespace fedpeft::configs
