// Progress: one line of text for each committed round, read from the state folder as any other reader would.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/records.h"
#include "server/state_reader.h"

namespace fedpeft::server {

/// `round 3/12  4 clients  loss 0.8123  accuracy 71.20 %  up 1.6 MB  down 1.6 MB  12.3 s  9 to go, about 2 min`.
/// `seconds_a_round`: with everything, also evaluations.
std::string RoundLine(const RoundRecord& record, std::uint32_t total_rounds, double seconds_a_round);

class Progress {
 public:
  explicit Progress(std::string state_folder) : folder_(std::move(state_folder)) {}
  /// What to print of the rounds that have been completed since the last call. A state that cannot be read just now is
  /// read later: the coordinator is what must not stop.
  std::vector<std::string> NewLines();

 private:
  bool Open();
  double SecondsARound(const RoundRecord& record);

  const std::string folder_;
  std::optional<StateReader> state_;
  /// Rounds of earlier processes are not printed again.
  std::optional<std::uint32_t> next_;
  std::uint32_t total_rounds_ = 0;
  /// The first that was printed, of those with training: since then rounds are timed.
  std::optional<RoundRecord> first_;
};

}  // namespace fedpeft::server
