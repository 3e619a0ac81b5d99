// Rules: findings as they are collected. The functions below are the rules across keys that have a file of their own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "configs/finding.h"
#include "configs/run.h"

namespace google::protobuf {
class Message;
}
namespace fedpeft::v1 {
class Privacy;
class RunConfig;
}  // namespace fedpeft::v1

namespace fedpeft::configs {

class Rules {
 public:
  /// Reads as the rule that it states.
  void Require(bool holds, std::string path, std::string message) {
    if (!holds) findings_.push_back({std::move(path), std::move(message)});
  }
  /// Each of `keys` of `message` is left at its default, because it has no effect `where`.
  void RequireDefaults(const std::string& path, const google::protobuf::Message& message,
                       std::initializer_list<const char*> keys, const std::string& where);

  const std::vector<Finding>& findings() const { return findings_; }
  std::vector<Finding> Take() { return std::move(findings_); }

 private:
  std::vector<Finding> findings_;
};

/// Sums under masks are possible for every phase's clients and weights.
void CheckSecureAggregation(const v1::RunConfig& config, Rules& rules);

/// What is claimed is what happens: each refusal is of a setting under which the bound would not hold, or mean nothing.
void CheckPrivacy(const v1::RunConfig& config, Rules& rules);

/// Under local privacy: an update of so many values fits the reducer with the noise that hides it, and something of it
/// is left under that.
void CheckHiddenUpdates(RunSpec run, std::uint64_t values, Rules& rules);

}  // namespace fedpeft::configs
