// Unmasking: the coordinator's last stage: which secrets the sum takes, the shares of them that come, and the masks
// that they make.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "privacy/secagg/member.h"
#include "privacy/secagg/recovery.h"
#include "privacy/secagg/server_session.h"
#include "privacy/secagg/session_config.h"
#include "privacy/secagg/session_keys.h"
#include "proto/secure_aggregation.pb.h"

namespace fedpeft::privacy {

class Unmasking {
 public:
  /// Wants the seed of each member whose vector is in the sum, and the private mask key of each that was lost after it
  /// had shared, as far as its masks are in the sum. `config` and `members` must outlive this object, and whose
  /// vectors are in the sum stays.
  Unmasking(const SessionConfig& config, const SessionId& session, std::uint32_t threshold,
            const std::vector<Member>& members);
  Unmasking(const Unmasking&) = delete;
  Unmasking& operator=(const Unmasking&) = delete;

  /// The place of one whose secret can be put together by nobody who is left.
  std::optional<std::uint32_t> Unrecoverable() const;

  /// What a member gives. Errors, with nothing taken: kInvalidArgument when it is not what it was asked for.
  Status Take(std::uint32_t place, const v1::UnmaskShares& shares, std::vector<SecureAction>& actions);
  /// Each secret has as many shares as it takes.
  bool has_enough() const;
  /// Puts the secrets together; blames whose shares were wrong. The place of one whose secret does not come, or
  /// nothing.
  std::optional<std::uint32_t> Recover(std::vector<SecureAction>& actions);
  std::size_t shares(std::uint32_t place) const { return wanted_.at(place).shares(); }
  /// Pre: Recover gave nothing.
  SecureFinished Finished() const;

 private:
  /// What a member's secret is known by.
  IsTheSecret CheckOf(std::uint32_t place) const;
  void AddMasksOf(std::uint32_t place, const SecretKey& secret, std::vector<Mask>& masks) const;

  const SessionConfig& config_;
  const SessionId session_;
  const std::uint32_t threshold_;
  const std::vector<Member>& members_;
  /// By place.
  std::map<std::uint32_t, SecretRecovery> wanted_;
};

}  // namespace fedpeft::privacy
