#include "privacy/secagg/session_config.h"

#include <algorithm>

#include "privacy/secagg/ring.h"
#include "proto/secure_aggregation.pb.h"

namespace fedpeft::privacy {

namespace {

constexpr int kMaxExponent = 100;

std::string Raw(const Digest& digest) {
  return std::string(AsText(digest));
}

Status WantSetting(bool good, const char* what) {
  return good ? OkStatus() : InvalidArgument(std::string("secure aggregation's configuration: ") + what);
}

Status ToDigest(const std::string& bytes, const char* what, Digest& digest) {
  RETURN_IF_ERROR(WantSetting(bytes.size() == digest.size(), what));
  std::ranges::copy(AsBytes(bytes), digest.begin());
  return OkStatus();
}

Status CheckNumbers(const SessionConfig& config) {
  RETURN_IF_ERROR(WantSetting(config.elements >= 1 && config.elements <= kMaxSecureElements, "elements: out of range"));
  RETURN_IF_ERROR(
      WantSetting(config.exponent >= -kMaxExponent && config.exponent <= kMaxExponent, "exponent: out of range"));
  RETURN_IF_ERROR(WantSetting(config.min_clients >= kFewestClients, "min_clients: want at least 5"));
  return LargestLevel(config.budget).status();
}

}  // namespace

Bytes SessionConfig::Encode() const {
  v1::SecureConfig message;
  message.set_version(kSecureVersion);
  message.set_suite(static_cast<std::uint32_t>(suite));
  message.set_run_id(run_id);
  message.set_round(round);
  message.set_attempt(attempt);
  message.set_nonce(Raw(nonce));
  message.set_model_sha256(Raw(model));
  message.set_payload_sha256(Raw(payload));
  message.set_elements(elements);
  message.set_bits(static_cast<std::uint32_t>(budget.bits));
  message.set_exponent(exponent);
  message.set_max_contributions(budget.max_contributions);
  message.set_max_weight(budget.max_weight);
  message.set_min_clients(min_clients);
  message.set_max_corrupt(max_corrupt);
  message.set_max_drop_out(max_drop_out);
  message.set_threat(threat == Threat::kCurious ? v1::SecureConfig::CURIOUS : v1::SecureConfig::SEMI_MALICIOUS);
  const std::string bytes = message.SerializeAsString();
  return {bytes.begin(), bytes.end()};
}

Result<SessionConfig> SessionConfig::Decode(ByteSpan bytes) {
  v1::SecureConfig message;
  const bool parsed = bytes.size() < (1 << 16) && message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  RETURN_IF_ERROR(WantSetting(parsed, "is no message of its kind"));
  RETURN_IF_ERROR(
      WantSetting(message.version() == kSecureVersion, "version: is not this program's (use the same release)"));
  RETURN_IF_ERROR(WantSetting(message.suite() == 1 || message.suite() == 2, "suite: want 1 or 2"));
  RETURN_IF_ERROR(
      WantSetting(message.threat() == v1::SecureConfig::CURIOUS || message.threat() == v1::SecureConfig::SEMI_MALICIOUS,
                  "threat: want curious or semi_malicious"));
  RETURN_IF_ERROR(WantSetting(message.bits() <= kMaxRingBits, "bits: out of range"));
  SessionConfig config;
  config.suite = static_cast<Suite>(message.suite());
  config.run_id = message.run_id();
  config.round = message.round();
  config.attempt = message.attempt();
  RETURN_IF_ERROR(ToDigest(message.nonce(), "nonce: want 32 bytes", config.nonce));
  RETURN_IF_ERROR(ToDigest(message.model_sha256(), "model_sha256: want 32 bytes", config.model));
  RETURN_IF_ERROR(ToDigest(message.payload_sha256(), "payload_sha256: want 32 bytes", config.payload));
  config.elements = message.elements();
  config.budget = {static_cast<int>(message.bits()), message.max_contributions(), message.max_weight()};
  config.exponent = message.exponent();
  config.min_clients = message.min_clients();
  config.max_corrupt = message.max_corrupt();
  config.max_drop_out = message.max_drop_out();
  config.threat = message.threat() == v1::SecureConfig::CURIOUS ? Threat::kCurious : Threat::kSemiMalicious;
  RETURN_IF_ERROR(CheckNumbers(config));
  return config;
}

std::uint32_t SignatureQuorum(const SessionConfig& config, std::uint32_t clients) {
  return (clients + FractionOf(config.max_corrupt, clients)) / 2 + 1;
}

}  // namespace fedpeft::privacy
