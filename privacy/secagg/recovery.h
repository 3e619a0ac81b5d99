// SecretRecovery: one client's secret, put together from shares as they come.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "peft/core/bytes.h"
#include "privacy/secagg/shamir.h"

namespace fedpeft::privacy {

class SecretRecovery {
 public:
  /// Pre: threshold ≥ 1.
  SecretRecovery(std::uint32_t threshold, IsTheSecret check) : threshold_(threshold), check_(std::move(check)) {}

  /// False for bytes that are no share: they are left out, so that they hide no right ones. Pre: x is new and not 0;
  /// kShareBytes.
  bool Add(std::uint32_t x, ByteSpan share);
  std::size_t shares() const { return shares_.size(); }
  bool has_enough() const { return found_ || shares_.size() >= threshold_; }

  /// Whether the secret is there, or comes from the shares that are; adds to `wrong` whose are not of it. Costs nothing
  /// where no share has come since the last time.
  bool Try(std::vector<std::uint32_t>& wrong);
  /// Pre: Try gave it.
  const SecretKey& secret() const { return *found_; }

 private:
  std::uint32_t threshold_;
  IsTheSecret check_;
  std::vector<HeldShare> shares_;
  /// So many of them did not give it.
  std::size_t tried_ = 0;
  std::optional<SecretKey> found_;
};

}  // namespace fedpeft::privacy
