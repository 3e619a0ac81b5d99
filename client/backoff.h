// Backoff: how long to wait before the next try. Doubles up to a cap, with full jitter, so that clients that lost the
// same coordinator do not all come back at once.
#pragma once

#include <algorithm>
#include <cstdint>

#include "peft/core/clock.h"
#include "peft/core/random.h"

namespace fedpeft::client {

class Backoff {
 public:
  /// `seed` only has to differ between clients.
  Backoff(Duration first, Duration cap, std::uint64_t seed) : first_(first), cap_(cap), stream_(seed, "backoff") {}

  /// Uniform in (½, 1] of first·2^tries, at most the cap.
  Duration Next() {
    const double full = ToSeconds(first_) * static_cast<double>(std::uint64_t{1} << std::min(tries_++, 30u));
    return Seconds(std::min(full, ToSeconds(cap_)) * (1 - stream_.NextDouble() / 2));
  }
  void Reset() { tries_ = 0; }
  unsigned tries() const { return tries_; }

 private:
  Duration first_;
  Duration cap_;
  unsigned tries_ = 0;
  RandomStream stream_;
};

}  // namespace fedpeft::client
