// The verbs of fedpeft-server, as functions of their parsed arguments; each returns the process's exit status and says
// on standard error what went wrong. main.cc parses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/core/status.h"
#include "server/budget.h"
#include "server/service.h"

namespace fedpeft::server {

struct RunArgs {
  std::string file;
  /// `key.path=value`, over the file.
  std::vector<std::string> overrides;
};

struct ServeArgs {
  RunArgs run;
  std::string state;
  ServiceOptions service;
  /// Adapter folder to start from, and the base's folder, which only some need; may be empty.
  std::string start;
  std::string base;
  /// PEM of who vouches for clients under secure aggregation; may be empty.
  std::string enrolment_roots;
};

struct ReportArgs {
  std::string state;
  bool json = false;
};

struct ExportArgs {
  std::string state;
  std::optional<std::uint32_t> round;
  std::string out;
  /// Folder of the base; may be empty.
  std::string base;
  /// `peft` or `gguf`.
  std::string format = "peft";
};

struct BudgetArgs {
  /// Of a run; empty: a plan.
  std::string state;
  BudgetPlan plan;
  bool json = false;
};

/// Coordinates the run until it is finished, or stopped by SIGTERM or SIGINT (both 0), or cannot go on (1).
/// Pre: called before any other thread was started, because it blocks these signals for all of them.
int Serve(const ServeArgs& args);
int Check(const RunArgs& args);
int Rounds(const ReportArgs& args);
int Show(const ReportArgs& args);
int Export(const ExportArgs& args);
int Budget(const BudgetArgs& args);

/// Prints the status and returns 1.
int Fail(const Status& status);

}  // namespace fedpeft::server
