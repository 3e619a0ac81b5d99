// Monotonic time as a value that state machines are handed, and the interface that processes read it through.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace fedpeft {

/// A point in monotonic time; only differences mean anything.
using Instant = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
using Duration = std::chrono::nanoseconds;

/// Where a process reads the time. Tests hand out their own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant Now() const = 0;
  /// The steady clock of this machine.
  static const Clock& System();
};

/// Milliseconds of wall time since 1970, for logs and records, never for deadlines.
std::int64_t UnixMillis();
/// `2026-01-31T12:00:00.123Z`.
std::string FormatUtc(std::int64_t unix_millis);

inline Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}
inline double ToSeconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace fedpeft
