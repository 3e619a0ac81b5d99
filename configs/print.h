// Print: a configuration -> YAML that loads back to the same message, and the difference of two configurations. For
// `show`, for the blocks that `inspect` prints to paste, and for the refusal of a run whose YAML changed.
#pragma once

#include <string>
#include <vector>

namespace google::protobuf {
class Message;
}
namespace fedpeft::v1 {
class RunConfig;
}

namespace fedpeft::configs {

/// The keys that `message` has, in the schema's order. A RunConfig with only `base` set gives just the `base:` block.
std::string ToYaml(const google::protobuf::Message& message);

/// One line for each key that differs, `train.learning_rate: was 0.01, is 0.005`, in the schema's order of `before`,
/// then the keys that only `after` has. Empty: the two mean the same.
std::vector<std::string> Difference(const v1::RunConfig& before, const v1::RunConfig& after);

}  // namespace fedpeft::configs
