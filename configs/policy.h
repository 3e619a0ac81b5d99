// A client's policy: what its people allow, whatever a coordinator's run says. A YAML file on the client's box.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "configs/run.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "privacy/secagg/client_session.h"

namespace fedpeft {

struct Policy {
  bool require_secure_aggregation = false;
  privacy::ClientPolicy secure;
  /// Hashes of weights that may be tuned; empty: any.
  std::vector<Digest> bases = {};
  /// Of all runs in which clients hide themselves by noise of their own; nothing: no bound.
  std::optional<privacy::PrivacyBudget> max_epsilon = {};
  /// PEM file; empty: nobody vouches for others.
  std::string enrolment_roots = {};

  /// Errors: kFailedPrecondition for a run that it does not allow, with the reason.
  Status Check(const RunSpec& run) const;
};

/// Errors: ReadFile's; kInvalidArgument with one line a finding, as LoadRun's.
Result<Policy> LoadPolicy(const std::string& path);
/// The same from text; `file` names it in errors.
Result<Policy> LoadPolicyText(std::string_view text, std::string_view file);

}  // namespace fedpeft
