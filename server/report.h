// What `rounds`, `show` and `export` print and write, from a state folder, beside a running coordinator or after one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "configs/run.h"
#include "peft/core/status.h"
#include "server/state_reader.h"

namespace fedpeft::server {

/// The run as it was started. Errors: kNotFound: none was; kDataLoss: it does not parse.
Result<RunSpec> StoredRun(StateReader& state);

/// A table, one line a committed round.
Result<std::string> RoundsText(StateReader& state);
/// An array of round_log.h's objects.
Result<std::string> RoundsJson(StateReader& state);

/// The run, its last and best round, attempts that were lost, and the clients.
Result<std::string> ShowText(StateReader& state);
Result<std::string> ShowJson(StateReader& state);

/// Where an adapter goes: a folder of peft's or of the adapters library, or a file for llama.cpp. `base` is the base's
/// folder, or empty.
struct ExportTarget {
  enum class Format { kPeft, kAdapters, kGguf };
  std::string out = {};
  std::string base = {};
  Format format = Format::kPeft;
};

/// Writes the parameters of `round` (nothing: the best evaluated round, else the last) as an adapter.
/// Returns the round. `run` is the translation of the stored configuration.
/// Errors: kNotFound: no such round, or not kept; those of the checkpoint and the adapter folder.
Result<std::uint32_t> ExportRound(StateReader& state, const RunSpec& run, std::optional<std::uint32_t> round,
                                  const ExportTarget& target);

}  // namespace fedpeft::server
