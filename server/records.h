// What the state folder remembers, as plain structs: the store writes them, the reader gives them back, reports print
// them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/core/hash.h"
#include "server/events.h"

namespace fedpeft::server {

enum class RunStatus { kRunning, kFinished, kFailed };
/// `running`, `finished` or `failed`.
std::string_view RunStatusName(RunStatus status);

struct RunRecord {
  /// Drawn at random when the folder was created.
  std::string run_id;
  std::string name;
  /// The serialised RunConfig; its hash is over these bytes.
  std::string config;
  std::uint32_t total_rounds = 0;
  std::int64_t created_ms = 0;
  RunStatus status = RunStatus::kRunning;
  /// Why it ended; empty while it runs.
  std::string reason;
};

/// What a client says of its training; nobody is told under secure aggregation.
struct SubmissionCounts {
  std::uint64_t weight = 0;
  /// That the client holds, as it said when it joined.
  std::uint64_t examples = 0;
  /// Mean training loss an example.
  double loss = 0;
  double seconds = 0;
};

/// One client's part in a committed round.
struct Submission {
  std::string client;
  std::optional<SubmissionCounts> counts;
  std::uint64_t bytes = 0;
};

/// How a round was summed under masks.
struct SecureRecord {
  /// Values of clients that were cut at the range's end.
  std::uint64_t saturated = 0;
  /// The range of the next round's values.
  double next_range = 0;
};

/// What protects a round's release.
struct PrivacyRecord {
  /// Norms that this round's updates were clipped to, and the next one's are.
  double clip = 0;
  double next_clip = 0;
  /// Standard deviation of the noise over `clip`; where it is correlated, over what a client can change in all rounds.
  double noise_multiplier = 0;
};

/// One held-out evaluation, summed over the evaluators. Pre: counts.totals.examples() > 0.
struct EvaluationRecord {
  EvaluateStats counts;
  std::uint32_t evaluators = 0;
  /// The best of the rounds up to this one.
  bool best = false;
};

/// A committed round; round 0 is the start, with the initial parameters and nobody's update.
struct RoundRecord {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  std::int64_t committed_ms = 0;
  /// Of the payload as clients get it: the shared parameters in layout order.
  Digest params_sha256{};
  /// Clients chosen, and those whose update is in the sum.
  std::uint32_t cohort = 0;
  std::uint32_t participants = 0;
  std::uint64_t examples = 0;
  /// Mean training loss an example over the participants; none in round 0.
  std::optional<double> train_loss;
  /// Bytes of the updates that came, and of the parameters that were sent out (a client asked again counts again).
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  /// From the first task to the last update.
  double seconds = 0;
  /// What the coordinator was guarded against: `trusted` (nothing) or secure aggregation's threat model.
  std::string threat = "trusted";
  std::optional<SecureRecord> secure;
  std::optional<PrivacyRecord> privacy;
  std::optional<EvaluationRecord> evaluation;
  /// Its evaluation is over, or was not due.
  bool complete = false;
  /// The parameters are still in the folder.
  bool kept = false;
};

/// One attempt at a round.
struct AttemptRecord {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  /// `open`, `committed`, `lost` (too few updates), `void` (nothing came of it, and it cannot be repeated) or
  /// `abandoned` (the process ended).
  std::string status;
  std::string reason;
  std::vector<std::string> cohort;
};

}  // namespace fedpeft::server
