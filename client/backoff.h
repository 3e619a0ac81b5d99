// Trying again: which failures are worth it, how long to wait, and when to give up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "peft/core/clock.h"
#include "peft/core/status.h"

namespace fedpeft::client {

/// Failures that a later try may not meet: the network's, a restarting coordinator's, a transfer that broke.
inline bool IsPassing(Code code) {
  // kCancelled: a stopping coordinator cancels what is left of its calls; one's own stop is looked at first.
  return code == Code::kUnavailable || code == Code::kCancelled || code == Code::kDeadlineExceeded ||
         code == Code::kUnauthenticated || code == Code::kResourceExhausted || code == Code::kDataLoss ||
         code == Code::kUnknown || code == Code::kInternal || code == Code::kAborted;
}

/// Waits that double up to a cap, with jitter of this object's own, so that clients that lost the same coordinator at
/// the same moment come back spread over seconds.
class Backoff {
 public:
  /// Uniform in [½, 1) of 0.1 s · 2^tries, at most 5 s.
  Duration Next() {
    const double full = kFirst * static_cast<double>(std::uint64_t{1} << std::min(tries_++, 30u));
    return Seconds(std::min(full, kCap) * std::uniform_real_distribution(0.5, 1.0)(random_));
  }
  void Reset() { tries_ = 0; }
  unsigned tries() const { return tries_; }

 private:
  static constexpr double kFirst = 0.1;
  static constexpr double kCap = 5;

  unsigned tries_ = 0;
  std::minstd_rand random_{std::random_device()()};
};

/// How long failures may go on, counted from the first of them: a poll that was held for minutes before it failed has
/// used up nothing.
class Patience {
 public:
  /// 0: it never ends.
  explicit Patience(double max_wait_s) : max_wait_s_(max_wait_s) {}

  /// A failure at `now`; whether it is one too many.
  bool EndsWithFailureAt(Instant now) {
    if (!failing_) since_ = now;
    failing_ = true;
    return max_wait_s_ > 0 && ToSeconds(now - since_) > max_wait_s_;
  }
  /// Something succeeded.
  void Reset() { failing_ = false; }

 private:
  const double max_wait_s_;
  bool failing_ = false;
  Instant since_{};
};

}  // namespace fedpeft::client
