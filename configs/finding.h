// Findings: what is wrong with a run configuration, all of it at once. The loader adds the place in the file; rules
// that judge the message alone (validate.h) know the key's path only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft::configs {

/// Where a value was written: a line and column of the file, both from 1, or the n-th `--set`; all 0: nowhere.
struct Place {
  int line = 0;
  int column = 0;
  /// 1 for the first `--set` of the command line; 0: the file.
  int set = 0;

  bool known() const { return line > 0 || set > 0; }
};

struct Finding {
  /// Names and list indices joined by dots, `schedule.0.rounds`; empty: the whole configuration.
  std::string path;
  /// `got X, want Y (what to do)`.
  std::string message;
  Place place = {};
};

/// Where each key of a loaded configuration was written, by path.
using Places = std::map<std::string, Place, std::less<>>;

/// `a.b`; `b` alone when `a` is empty.
std::string JoinKey(std::string_view a, std::string_view b);

/// The place of `path`, else of the closest key above it, else the file's first line.
Place FindPlace(const Places& places, std::string_view path);

/// kInvalidArgument with one line a finding, `file:line:column: path: message`. Pre: findings is not empty.
Status ToStatus(std::string_view file, const std::vector<Finding>& findings);

/// `"text"` for a message: control characters escaped, long texts cut.
std::string Quoted(std::string_view text);

}  // namespace fedpeft::configs
