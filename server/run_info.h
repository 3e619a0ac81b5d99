// RunInfo: what the service must know of a run to check what peers claim. Constant for the life of the process.
#pragma once

#include <cstdint>
#include <string>

#include "peft/core/hash.h"

namespace fedpeft::server {

struct RunInfo {
  std::string run_id;
  /// The serialised RunConfig as clients get it, and the hash of these bytes.
  std::string run_config;
  Digest run_config_sha256{};
  /// For messages: which base the run wants.
  std::string base_name;
  Digest weights{};
  Digest tokenizer{};
  Digest layout{};
  /// The length of the longest update.
  std::uint64_t max_update_bytes = 0;

  /// Clients keep parts of the model: somebody who trains none has none to evaluate.
  bool personal = false;
  /// RunSpec's.
  bool reticent = false;
  bool trainers_evaluate = true;

  /// Joined clients at a time, virtual ones counted; and of one process.
  std::uint64_t max_clients = 10'000;
  std::uint64_t max_virtual_clients = 10'000;
  std::uint64_t upload_window_bytes = std::uint64_t{256} << 20;
  double client_timeout_s = 15;
};

}  // namespace fedpeft::server
