#include "peft/core/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "peft/core/clock.h"

namespace fedpeft {

namespace {

struct Logger {
  std::shared_ptr<spdlog::logger> console = spdlog::stderr_color_mt("fedpeft");
  std::shared_ptr<spdlog::logger> file;
  bool json = false;
  LogLevel level = LogLevel::kInfo;
  Logger() { console->set_pattern("%H:%M:%S.%e %^%-5l%$ %v"); }
};

Logger& TheLogger() {
  static Logger logger;
  return logger;
}

spdlog::level::level_enum SpdLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view LevelName(LogLevel level) {
  static constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warning", "error"};
  return kNames[static_cast<std::size_t>(level)];
}

std::string AsJson(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  nlohmann::ordered_json line;
  line["time"] = FormatUtc(UnixMillis());
  line["level"] = LevelName(level);
  line["event"] = event;
  for (const LogField& field : fields) {
    std::visit([&](const auto& value) { line[std::string(field.name)] = value; }, field.value);
  }
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string AsText(std::string_view event, std::initializer_list<LogField> fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    line.append(" ").append(field.name).append("=");
    std::visit(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, std::string>) {
            const bool plain = !value.empty() && value.find_first_of(" \"\n\r\t=") == std::string::npos;
            line.append(plain ? value
                              : nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
          } else if constexpr (std::is_same_v<T, bool>) {
            line.append(value ? "true" : "false");
          } else if constexpr (std::is_same_v<T, double>) {
            std::array<char, 32> text{};
            std::snprintf(text.data(), text.size(), "%.6g", value);
            line.append(text.data());
          } else {
            line.append(std::to_string(value));
          }
        },
        field.value);
  }
  return line;
}

}  // namespace

Status InitLog(const LogOptions& options) {
  Logger& logger = TheLogger();
  logger.json = options.json;
  logger.level = options.level;
  logger.console->set_level(spdlog::level::debug);
  logger.console->flush_on(spdlog::level::debug);
  if (options.json) logger.console->set_pattern("%v");
  if (!options.file.empty()) {
    try {
      logger.file = std::make_shared<spdlog::logger>(
          "file", std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file, false));
    } catch (const spdlog::spdlog_ex& error) {
      return Unavailable(options.file + ": cannot write the log: " + error.what());
    }
    logger.file->set_pattern("%v");
    logger.file->set_level(spdlog::level::debug);
    logger.file->flush_on(spdlog::level::debug);
  }
  return OkStatus();
}

Result<LogLevel> ParseLogLevel(std::string_view name) {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (name == LevelName(level)) return level;
  }
  return InvalidArgument("log level: got \"" + std::string(name) + "\", want debug, info, warning or error");
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  Logger& logger = TheLogger();
  if (level < logger.level) return;
  if (logger.file) logger.file->log(SpdLevel(level), AsJson(level, event, fields));
  logger.console->log(SpdLevel(level), logger.json ? AsJson(level, event, fields) : AsText(event, fields));
}

}  // namespace fedpeft
