// Structured logs: one event a line, a stable event name and typed fields; human text on a terminal, JSON on request.
// A front for spdlog that keeps its headers out of ours and out of units that include torch.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

#include "peft/core/status.h"

namespace fedpeft {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// One `name=value` of an event. Values never hold secrets or training text.
struct LogField {
  std::string_view name;
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string> value;

  LogField(std::string_view n, int v) : name(n), value(std::int64_t{v}) {}
  LogField(std::string_view n, unsigned v) : name(n), value(std::uint64_t{v}) {}
  LogField(std::string_view n, std::int64_t v) : name(n), value(v) {}
  LogField(std::string_view n, std::uint64_t v) : name(n), value(v) {}
  LogField(std::string_view n, double v) : name(n), value(v) {}
  LogField(std::string_view n, bool v) : name(n), value(v) {}
  LogField(std::string_view n, std::string v) : name(n), value(std::move(v)) {}
  LogField(std::string_view n, const char* v) : name(n), value(std::string(v)) {}
};

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  bool json = false;
  /// Also appended to this file, as JSON; empty: standard error alone.
  std::string file;
};

/// Once, at the start of main. Before it, events of level info and above go to standard error as text.
Status InitLog(const LogOptions& options);
/// `debug`, `info`, `warning` or `error`.
Result<LogLevel> ParseLogLevel(std::string_view name);

/// `event` is a stable dotted name (`round.committed`), never composed at run time.
void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});
inline void LogDebug(std::string_view event, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kDebug, event, f);
}
inline void LogInfo(std::string_view event, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kInfo, event, f);
}
inline void LogWarning(std::string_view event, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kWarning, event, f);
}
inline void LogError(std::string_view event, std::initializer_list<LogField> f = {}) {
  Log(LogLevel::kError, event, f);
}

}  // namespace fedpeft
