#include "server/state_reader.h"

#include <algorithm>
#include <utility>

#include "peft/core/files.h"
#include "server/store.h"
#include "server/store_schema.h"

namespace fedpeft::server {
namespace {

constexpr std::string_view kSelectRounds = R"sql(
SELECT r.round, r.attempt, r.committed_ms, r.params_sha256, r.cohort, r.participants, r.examples, r.train_loss,
       r.bytes_up, r.bytes_down, r.seconds, r.complete, r.params_file IS NOT NULL, r.threat, r.saturated, r.next_range,
       r.clip, r.next_clip, r.noise_multiplier, e.evaluators, e.totals, e.seconds, e.best
FROM rounds r LEFT JOIN evaluations e USING (round) )sql";

Result<RoundRecord> RoundOf(const Statement& row) {
  RoundRecord record;
  record.round = row.Uint32(0);
  record.attempt = row.Uint32(1);
  record.committed_ms = row.Int(2);
  const ByteSpan digest = row.Blob(3);
  if (digest.size() != record.params_sha256.size()) return DataLoss("fedpeft.db: rounds.params_sha256 is not 32 bytes");
  std::copy(digest.begin(), digest.end(), record.params_sha256.begin());
  record.cohort = row.Uint32(4);
  record.participants = row.Uint32(5);
  record.examples = row.Uint(6);
  if (!row.IsNull(7)) record.train_loss = row.Real(7);
  record.bytes_up = row.Uint(8);
  record.bytes_down = row.Uint(9);
  record.seconds = row.Real(10);
  record.complete = row.Int(11) != 0;
  record.kept = row.Int(12) != 0;
  record.threat = row.Text(13);
  if (!row.IsNull(15)) record.secure = SecureRecord{row.Uint(14), row.Real(15)};
  if (!row.IsNull(16)) record.privacy = PrivacyRecord{row.Real(16), row.Real(17), row.Real(18)};
  if (!row.IsNull(19)) {
    ASSIGN_OR_RETURN(Totals totals, TotalsFromText(row.Text(20)));
    record.evaluation = EvaluationRecord{
        .counts = {std::move(totals), row.Real(21)}, .evaluators = row.Uint32(19), .best = row.Int(22) != 0};
  }
  return record;
}

/// What each row of a statement makes, in order.
template <typename Make>
auto Collect(Statement statement, Make make) -> Result<std::vector<decltype(make(statement))>> {
  std::vector<decltype(make(statement))> all;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) return all;
    all.push_back(make(statement));
  }
}

}  // namespace

std::string_view RunStatusName(RunStatus status) {
  switch (status) {
    case RunStatus::kRunning:
      return "running";
    case RunStatus::kFinished:
      return "finished";
    case RunStatus::kFailed:
      return "failed";
  }
  return "running";
}

Result<std::vector<RoundRecord>> ReadRounds(Database& database, const std::string& where) {
  ASSIGN_OR_RETURN(Statement select, database.Prepare(std::string(kSelectRounds) + where));
  std::vector<RoundRecord> rounds;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return rounds;
    ASSIGN_OR_RETURN(RoundRecord record, RoundOf(select));
    rounds.push_back(std::move(record));
  }
}

Result<std::optional<RunRecord>> ReadRun(Database& database) {
  ASSIGN_OR_RETURN(Statement select, database.Prepare("SELECT run_id, name, config, total_rounds, created_ms, status, "
                                                      "reason FROM run"));
  ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return std::optional<RunRecord>();
  RunRecord run{select.Text(0), select.Text(1),      select.Text(2), select.Uint32(3),
                select.Int(4),  RunStatus::kRunning, select.Text(6)};
  const std::string status = select.Text(5);
  for (const RunStatus known : {RunStatus::kFinished, RunStatus::kFailed}) {
    if (status == RunStatusName(known)) run.status = known;
  }
  return std::optional(std::move(run));
}

Result<StateReader> StateReader::Open(const std::string& folder) {
  ASSIGN_OR_RETURN(Database database, Database::OpenForReading(Store::DatabasePath(folder)));
  ASSIGN_OR_RETURN(Statement version, database.Prepare("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const bool row, version.Step());
  if (!row || version.Uint(0) != kMigrations.size()) {
    return FailedPrecondition(folder + ": state of version " + (row ? std::to_string(version.Int(0)) : "?") +
                              ", want " + std::to_string(kMigrations.size()) + " (use the program that wrote it)");
  }
  return StateReader(std::move(database), folder);
}

Result<RunRecord> StateReader::Run() {
  ASSIGN_OR_RETURN(std::optional<RunRecord> run, ReadRun(database_));
  if (!run) return NotFound(folder_ + ": no run has been started here");
  return *std::move(run);
}

Result<std::vector<RoundRecord>> StateReader::Rounds(std::uint32_t from) {
  return ReadRounds(database_, "WHERE r.round >= " + std::to_string(from) + " ORDER BY r.round");
}

Result<RoundRecord> StateReader::Round(std::uint32_t round) {
  ASSIGN_OR_RETURN(std::vector<RoundRecord> found, ReadRounds(database_, "WHERE r.round = " + std::to_string(round)));
  if (found.empty()) return NotFound(folder_ + ": round " + std::to_string(round) + " is not committed");
  return std::move(found.front());
}

Result<RoundRecord> StateReader::BestRound() {
  ASSIGN_OR_RETURN(std::vector<RoundRecord> found,
                   ReadRounds(database_, "ORDER BY e.best IS NOT NULL AND e.best DESC, r.round DESC LIMIT 1"));
  if (found.empty()) return NotFound(folder_ + ": no round is committed");
  return std::move(found.front());
}

Result<std::vector<Submission>> StateReader::Submissions(std::uint32_t round) {
  ASSIGN_OR_RETURN(Statement select, database_.Prepare("SELECT client, weight, examples, loss, seconds, bytes "
                                                       "FROM submissions WHERE round = ? ORDER BY client"));
  select.Bind(round);
  return Collect(std::move(select), [](const Statement& row) {
    Submission one{row.Text(0), std::nullopt, row.Uint(5)};
    if (!row.IsNull(1)) one.counts = SubmissionCounts{row.Uint(1), row.Uint(2), row.Real(3), row.Real(4)};
    return one;
  });
}

Result<std::vector<AttemptRecord>> StateReader::Attempts() {
  ASSIGN_OR_RETURN(Statement select,
                   database_.Prepare("SELECT round, attempt, status, reason FROM attempts ORDER BY round, attempt"));
  ASSIGN_OR_RETURN(std::vector<AttemptRecord> attempts, Collect(std::move(select), [](const Statement& row) {
                     return AttemptRecord{row.Uint32(0), row.Uint32(1), row.Text(2), row.Text(3), {}};
                   }));
  ASSIGN_OR_RETURN(Statement members, database_.Prepare("SELECT client FROM cohort WHERE round = ? AND attempt = ?"));
  for (AttemptRecord& attempt : attempts) {
    members.Bind(attempt.round).Bind(attempt.attempt);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, members.Step());
      if (!row) break;
      attempt.cohort.push_back(members.Text(0));
    }
  }
  return attempts;
}

Result<std::vector<ClientRecord>> StateReader::Clients() {
  ASSIGN_OR_RETURN(
      Statement select,
      database_.Prepare("SELECT c.client, evaluator, c.examples, held_out, first_seen_ms, last_seen_ms, joined, "
                        "count(s.round) "
                        "FROM clients c LEFT JOIN submissions s USING (client) GROUP BY c.client ORDER BY c.client"));
  return Collect(std::move(select), [](const Statement& row) {
    return ClientRecord{row.Text(0), row.Int(1) != 0, row.Uint(2),     row.Uint(3),
                        row.Int(4),  row.Int(5),      row.Int(6) != 0, row.Uint32(7)};
  });
}

Result<std::vector<privacy::Release>> StateReader::Releases() {
  return ReadReleases(database_);
}

Result<std::vector<privacy::Release>> ReadReleases(Database& database) {
  ASSIGN_OR_RETURN(Statement select, database.Prepare("SELECT release FROM releases ORDER BY round, attempt"));
  std::vector<privacy::Release> releases;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return releases;
    Result<privacy::Release> release = privacy::ParseRelease(select.Text(0));
    if (!release.ok()) return DataLoss("fedpeft.db: releases: " + release.status().message());
    releases.push_back(*std::move(release));
  }
}

Result<std::string> StateReader::ParamsPath(std::uint32_t round) {
  ASSIGN_OR_RETURN(const RoundRecord record, Round(round));
  if (record.kept) return JoinPath(folder_, Store::ParamsFile(round));
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> kept, ReadRounds(database_, "WHERE r.params_file IS NOT NULL"));
  std::string names;
  for (const RoundRecord& other : kept) names += (names.empty() ? "" : ", ") + std::to_string(other.round);
  return NotFound(folder_ + ": parameters of round " + std::to_string(round) +
                  " are no longer kept (limits.keep_rounds; " + "here are those of " + names + ")");
}

}  // namespace fedpeft::server
