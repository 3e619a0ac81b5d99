// StateReader: what a state folder holds, read from beside a running coordinator or after one. Each call is one short
// read transaction on a read-only connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/core/status.h"
#include "privacy/accounting/accountant.h"
#include "server/records.h"
#include "server/sqlite.h"

namespace fedpeft::server {

struct ClientRecord {
  std::string client;
  bool evaluator = false;
  std::uint64_t examples = 0;
  std::uint64_t held_out = 0;
  std::int64_t first_seen_ms = 0;
  std::int64_t last_seen_ms = 0;
  bool joined = false;
  /// Committed rounds its update is in.
  std::uint32_t rounds = 0;
};

class StateReader {
 public:
  /// Errors: kNotFound when the folder holds no state; kFailedPrecondition for a state of a newer version.
  static Result<StateReader> Open(const std::string& folder);

  Result<RunRecord> Run();
  /// The committed rounds from this one on, in order.
  Result<std::vector<RoundRecord>> Rounds(std::uint32_t from = 0);
  /// Errors: kNotFound.
  Result<RoundRecord> Round(std::uint32_t round);
  /// The round with the best evaluation, or the last one when none was evaluated. Errors: kNotFound: no rounds yet.
  Result<RoundRecord> BestRound();
  Result<std::vector<Submission>> Submissions(std::uint32_t round);
  Result<std::vector<AttemptRecord>> Attempts();
  Result<std::vector<ClientRecord>> Clients();
  /// What has been released under differential privacy, in order. Errors: kDataLoss for a row that is none.
  Result<std::vector<privacy::Release>> Releases();
  /// Path of the checkpoint file. Errors: kNotFound: no such round, or no longer kept (it says which are).
  Result<std::string> ParamsPath(std::uint32_t round);

 private:
  StateReader(Database database, std::string folder) : database_(std::move(database)), folder_(std::move(folder)) {}
  Database database_;
  std::string folder_;
};

// Shared by store and reader.

/// The run of this database, if one has been started.
Result<std::optional<RunRecord>> ReadRun(Database& database);
/// The ledger, in order. Errors: kDataLoss for a row that is no release.
Result<std::vector<privacy::Release>> ReadReleases(Database& database);
/// Committed rounds; `where` is what follows the FROM clause (rounds are `r`, evaluations `e`).
Result<std::vector<RoundRecord>> ReadRounds(Database& database, const std::string& where);

}  // namespace fedpeft::server
