// SecureRound: a round's sum under secure aggregation: the session that decides who is in it, and the masked sum that
// uploads go into. What clients are sent and what they answer is the session's; this adds up, and takes the masks off.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/secure.h"
#include "peft/core/clock.h"
#include "peft/core/status.h"
#include "privacy/secagg/secure_vector.h"
#include "privacy/secagg/server_session.h"
#include "server/events.h"

namespace fedpeft::server {

/// The mean of a round's updates, and what its clients counted together.
struct SecureOutcome {
  std::vector<std::string> clients;
  /// In the payload's order.
  std::vector<float> mean;
  std::uint64_t total_weight = 0;
  std::uint64_t examples = 0;
  /// Mean training loss an example; none where the counts make none.
  std::optional<double> train_loss;
  std::uint64_t saturated = 0;
  double next_range = 0;
};

class SecureRound {
 public:
  struct Setup {
    SecureSumSpec sum;
    /// The largest absolute value that a client's update can have, as far as the phase's max_abs allows; decides
    /// sum.exponent. Where clients make noise their clip norm does.
    double range = 1;
    /// Those who have an update ready; distinct.
    std::vector<std::string> clients;
    /// Who vouches for clients; may be empty.
    privacy::CheckCertificate check;
  };
  /// Errors: SecureSumOf's.
  static Result<SecureRound> Open(const RunSpec& run, Setup setup);

  /// The session's. Each SecureAsk is of the step that step() then says.
  std::vector<privacy::SecureAction> Handle(Instant now, const privacy::SecureEvent& event) {
    return session_.Handle(now, event);
  }
  std::optional<Instant> Wakeup() const { return session_.Wakeup(); }

  /// Of the stage that is open, in task keys.
  std::uint32_t step() const { return kSecureStep + static_cast<std::uint32_t>(session_.stage()); }
  double range() const { return range_; }
  bool unmasking() const { return session_.stage() == privacy::ServerSession::Stage::kUnmask; }
  bool HasUpload(const std::string& client) const { return session_.HasUpload(client); }
  bool WantsUpload(const std::string& client) const { return session_.WantsUpload(client); }
  std::uint64_t upload_bytes() const { return sum_->layout().packed_bytes(); }
  /// Adds a masked vector. Pre: WantsUpload, of upload_bytes(). Errors: those of reading it; the sum is then spoiled.
  Status Add(UploadedBytes& bytes);

  /// Takes off the masks. Once. Errors: kDataLoss when the sum is not one of honest vectors.
  Result<SecureOutcome> Unmask(const privacy::SecureFinished& finished);

 private:
  SecureRound(const RunSpec& run, Setup setup, const SecureSum& sum);

  double range_, limit_;
  /// Under differential privacy: what the sum is divided by, whoever came.
  std::optional<double> expected_;
  std::uint64_t values_;
  privacy::ServerSession session_;
  std::unique_ptr<privacy::MaskedSum> sum_;
};

/// The step of a masked vector's upload.
inline constexpr std::uint32_t kSecureUploadStep =
    kSecureStep + static_cast<std::uint32_t>(privacy::ServerSession::Stage::kUpload);

}  // namespace fedpeft::server
