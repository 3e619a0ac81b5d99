// Loader: a run's YAML file and the command line's `--set`s -> a complete, valid RunConfig, or everything that is wrong
// with it at once. First of the flow; run.h's TranslateRun is next.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "configs/finding.h"
#include "peft/core/status.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

struct LoadedRun {
  /// Valid, all defaults filled in.
  v1::RunConfig config;
  /// Where each key that was given stands.
  Places places;
};

/// Reads `path` and applies `overrides`, each `path.to.key=value`, in their order (the last one wins).
/// Errors: ReadFile's; kInvalidArgument with one line a finding, `file:line:column: key.path: got X, want Y`. Rules
/// across keys are judged once every single key is right.
Result<LoadedRun> LoadRun(const std::string& path, const std::vector<std::string>& overrides = {});

/// The same from text; `file` names it in errors.
Result<LoadedRun> LoadRunText(std::string_view text, std::string_view file,
                              const std::vector<std::string>& overrides = {});

}  // namespace fedpeft::configs
