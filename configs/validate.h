// Validate: every rule that a run configuration must obey, in one place. Used for a configuration from YAML (the loader
// adds places) and for one that came from a peer or the database, which may hold anything.
#pragma once

#include <cstddef>
#include <vector>

#include "configs/finding.h"

namespace google::protobuf {
class Message;
}
namespace fedpeft::v1 {
class RunConfig;
}

namespace fedpeft::configs {

inline constexpr std::size_t kMaxLabels = 100'000;
inline constexpr std::size_t kMaxPhases = 1'000;
/// A run's bytes: it travels in one message.
inline constexpr std::size_t kMaxRunBytes = std::size_t{3} << 20;
/// Sums are int64 on a grid 2^-s; fewer fractional bits than this lose small updates.
inline constexpr int kMinFractionalBits = 20;

/// What the (key) options say, for `message` and all below: keys that must be there, ranges, enum values that exist, no
/// unknown fields. Defaults must have been filled in.
void CheckFields(const google::protobuf::Message& message, std::vector<Finding>* findings);

/// CheckFields, and when that finds nothing the rules across keys. Empty: the run is fit to be translated and run.
std::vector<Finding> Validate(const v1::RunConfig& config);

}  // namespace fedpeft::configs
