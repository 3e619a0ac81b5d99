#include "peft/core/clock.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace fedpeft {

namespace {
class SystemClock : public Clock {
 public:
  Instant Now() const override { return std::chrono::time_point_cast<Duration>(std::chrono::steady_clock::now()); }
};
}  // namespace

const Clock& Clock::System() {
  static const SystemClock clock;
  return clock;
}

std::int64_t UnixMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string FormatUtc(std::int64_t unix_millis) {
  const std::time_t seconds = static_cast<std::time_t>(unix_millis / 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text.data() + length, text.size() - length, ".%03dZ", static_cast<int>(unix_millis % 1000));
  return text.data();
}

}  // namespace fedpeft
