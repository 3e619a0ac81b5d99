// Progress: one line of text for each committed round, read from the state folder as any other reader would.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/records.h"
#include "server/state_reader.h"

namespace fedpeft::server {

/// `round 3/12  4 clients  loss 0.8123  accuracy 71.20 %  up 1.6 MB  down 1.6 MB  12.3 s  9 rounds to go, about 2 min`.
std::string RoundLine(const RoundRecord& record, std::uint32_t total_rounds);

class Progress {
 public:
  explicit Progress(std::string state_folder) : folder_(std::move(state_folder)) {}
  /// Prints the rounds that have been completed since the last call. A state that cannot be read just now is read
  /// later: the coordinator is what must not stop.
  void Print();

 private:
  const std::string folder_;
  std::optional<StateReader> state_;
  /// Rounds of earlier processes are not printed again.
  std::optional<std::uint32_t> next_;
  std::uint32_t total_rounds_ = 0;
};

}  // namespace fedpeft::server
