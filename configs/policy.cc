#include "configs/policy.h"

#include <algorithm>

#include "configs/reader.h"
#include "configs/secure.h"
#include "configs/validate.h"
#include "configs/yaml_tree.h"
#include "peft/core/files.h"
#include "proto/run_config.pb.h"

namespace fedpeft {

Result<Policy> LoadPolicyText(std::string_view text, std::string_view file) {
  std::vector<configs::Finding> findings;
  const configs::YamlNode root = configs::ParseYaml(text, &findings);
  v1::Policy message;
  configs::Places places;
  configs::ReadTree(root, &message, &places, &findings);
  configs::FillDefaults(places, &message);
  if (findings.empty()) configs::CheckFields(message, &findings);
  Policy policy;
  for (int i = 0; i < message.bases_size(); ++i) {
    const std::optional<Digest> base = DigestFromHex(message.bases(i));
    if (base) {
      policy.bases.push_back(*base);
    } else {
      findings.push_back({"bases." + std::to_string(i), "got " + configs::Quoted(message.bases(i)) +
                                                            ", want 64 hexadecimal digits (print them with "
                                                            "fedpeft-client inspect)"});
    }
  }
  for (configs::Finding& finding : findings) {
    if (!finding.place.known()) finding.place = configs::FindPlace(places, finding.path);
  }
  if (!findings.empty()) return configs::ToStatus(file, findings);
  policy.require_secure_aggregation = message.require_secure_aggregation();
  policy.secure.min_clients = message.min_clients();
  policy.secure.min_threshold = message.min_threshold();
  policy.secure.max_bits = static_cast<int>(message.max_bits());
  policy.secure.min_corrupt = message.min_corrupt();
  policy.secure.semi_malicious = message.threat() == v1::SecureAggregation::SEMI_MALICIOUS;
  policy.enrolment_roots = message.enrolment_roots();
  if (message.max_epsilon() > 0) policy.max_epsilon = {message.max_epsilon(), message.max_epsilon_delta()};
  return policy;
}

Result<Policy> LoadPolicy(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, configs::kMaxYamlBytes));
  return LoadPolicyText(text, path);
}

Status Policy::Check(const RunSpec& run) const {
  if (!bases.empty() && std::ranges::find(bases, run.weights) == bases.end()) {
    return FailedPrecondition("run: tunes the base of weights sha256 " + Hex(run.weights) +
                              ", which this client's policy does not allow");
  }
  if (run.secure.on) return CheckPolicy(run, secure);
  if (!require_secure_aggregation) return OkStatus();
  return FailedPrecondition(
      "run: has no secure aggregation, so that the coordinator would see this client's update; this client's policy "
      "wants it (require_secure_aggregation)");
}

}  // namespace fedpeft
