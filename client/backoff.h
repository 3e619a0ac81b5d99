// Trying again: which failures are worth it, and how long to wait. Waits double up to a cap, with jitter, so that
// clients that lost the same coordinator do not all come back at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "peft/core/clock.h"
#include "peft/core/hash.h"
#include "peft/core/random.h"
#include "peft/core/status.h"

namespace fedpeft::client {

/// Failures that a later try may not meet: the network's, a restarting coordinator's, a transfer that broke.
inline bool IsPassing(Code code) {
  // kCancelled: a stopping coordinator cancels what is left of its calls; one's own stop is looked at first.
  return code == Code::kUnavailable || code == Code::kCancelled || code == Code::kDeadlineExceeded ||
         code == Code::kUnauthenticated || code == Code::kResourceExhausted || code == Code::kDataLoss ||
         code == Code::kUnknown || code == Code::kInternal || code == Code::kAborted;
}

class Backoff {
 public:
  /// `name` only has to differ between clients.
  explicit Backoff(std::string_view name) : stream_(LoadLe<std::uint64_t>(Sha256Of(AsBytes(name))), "backoff") {}

  /// Uniform in (½, 1] of 0.1 s · 2^tries, at most 5 s.
  Duration Next() {
    const double full = kFirst * static_cast<double>(std::uint64_t{1} << std::min(tries_++, 30u));
    return Seconds(std::min(full, kCap) * (1 - stream_.NextDouble() / 2));
  }
  void Reset() { tries_ = 0; }
  unsigned tries() const { return tries_; }

 private:
  static constexpr double kFirst = 0.1;
  static constexpr double kCap = 5;

  unsigned tries_ = 0;
  RandomStream stream_;
};

}  // namespace fedpeft::client
