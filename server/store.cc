#include "server/store.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <random>
#include <utility>

#include "configs/print.h"
#include "peft/core/clock.h"
#include "peft/core/log.h"
#include "privacy/crypto/random_source.h"
#include "proto/run_config.pb.h"
#include "server/round_log.h"
#include "server/state_reader.h"
#include "server/store_schema.h"

namespace fedpeft::server {
namespace {

constexpr const char* kParamsFolder = "params";

std::string NewRunId() {
  std::random_device device;
  Bytes id(8);
  for (std::size_t i = 0; i < id.size(); i += 4) StoreLe(std::uint32_t{device()}, id.data() + i);
  return Hex(ByteSpan(id));
}

}  // namespace

Store::Store(FolderLock lock, Database database, std::string folder)
    : lock_(std::move(lock)), database_(std::move(database)), folder_(std::move(folder)) {}

std::string Store::ParamsFile(std::uint32_t round) {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "%s/round-%06u.safetensors", kParamsFolder, round);
  return name.data();
}

Result<Store> Store::Open(const std::string& folder, const std::string& config, const RunSpec& run) {
  RETURN_IF_ERROR(MakeFolders(JoinPath(folder, kParamsFolder)));
  ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(folder));
  ASSIGN_OR_RETURN(Database database, Database::OpenForWriting(DatabasePath(folder)));
  Store store(std::move(lock), std::move(database), folder);
  store.keep_rounds_ = std::max(1u, run.limits.keep_rounds);
  RETURN_IF_ERROR(store.Migrate());
  RETURN_IF_ERROR(store.LoadOrCreateRun(config, run));
  RETURN_IF_ERROR(store.RemoveLeftovers());
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, ReadRounds(store.database_, "ORDER BY r.round"));
  RETURN_IF_ERROR(RewriteRoundLog(folder, rounds, store.run_.total_rounds));
  return store;
}

Status Store::Migrate() {
  ASSIGN_OR_RETURN(Statement select, database_.Prepare("PRAGMA user_version"));
  ASSIGN_OR_RETURN(const bool row, select.Step());
  const std::uint64_t version = row ? select.Uint(0) : 0;
  if (version > kMigrations.size()) {
    return FailedPrecondition(folder_ + ": state of version " + std::to_string(version) + ", want at most " +
                              std::to_string(kMigrations.size()) + " (use the program that wrote it)");
  }
  ASSIGN_OR_RETURN(const bool more, select.Step());
  FEDPEFT_CHECK(!more);
  for (std::uint64_t i = version; i < kMigrations.size(); ++i) {
    ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
    RETURN_IF_ERROR(database_.Execute(kMigrations[i]));
    RETURN_IF_ERROR(database_.Execute(("PRAGMA user_version = " + std::to_string(i + 1)).c_str()));
    RETURN_IF_ERROR(transaction.Commit());
  }
  return OkStatus();
}

Status Store::LoadOrCreateRun(const std::string& config, const RunSpec& run) {
  ASSIGN_OR_RETURN(std::optional<RunRecord> stored, ReadRun(database_));
  if (stored) {
    run_ = *std::move(stored);
    RETURN_IF_ERROR(CheckSameRun(config));
    if (run_.status == RunStatus::kFailed) RETURN_IF_ERROR(SetStatus(RunStatus::kRunning, ""));
    return database_.Execute(
        "UPDATE attempts SET status = 'abandoned', reason = 'the coordinator ended' "
        "WHERE status = 'open'");
  }
  run_ = {.run_id = NewRunId(),
          .name = run.name,
          .config = config,
          .total_rounds = run.total_rounds(),
          .created_ms = UnixMillis(),
          .status = RunStatus::kRunning,
          .reason = {}};
  ASSIGN_OR_RETURN(Statement insert, database_.Prepare("INSERT INTO run VALUES (1, ?, ?, ?, ?, ?, ?, ?, '')"));
  insert.Bind(run_.run_id).Bind(run_.name).Bind(AsBytes(config)).Bind(Hex(Sha256Of(AsBytes(config))));
  insert.Bind(run_.total_rounds).Bind(run_.created_ms).Bind(RunStatusName(run_.status));
  return insert.Run();
}

Status Store::CheckSameRun(const std::string& config) const {
  if (config == run_.config) return OkStatus();
  v1::RunConfig before, after;
  std::string difference;
  if (before.ParseFromString(run_.config) && after.ParseFromString(config)) {
    const std::vector<std::string> lines = configs::Difference(before, after);
    if (lines.empty()) return OkStatus();  // the same run, serialised by another version of protobuf
    for (const std::string& line : lines) difference += "\n  " + line;
  }
  return FailedPrecondition(folder_ + ": holds run " + run_.run_id + " (" + run_.name +
                            ") of another configuration (use a new state folder, or the configuration it was started "
                            "with)" +
                            difference);
}

Status Store::RemoveLeftovers() {
  ASSIGN_OR_RETURN(Statement select, database_.Prepare("SELECT params_file FROM rounds WHERE params_file IS NOT NULL"));
  std::vector<std::string> named;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) break;
    named.push_back(select.Text(0));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> present, ListFolder(JoinPath(folder_, kParamsFolder)));
  std::vector<std::string> leftovers;
  for (const std::string& file : present) {
    std::string path = JoinPath(kParamsFolder, file);
    if (std::find(named.begin(), named.end(), path) == named.end()) leftovers.push_back(std::move(path));
  }
  RemoveFiles(leftovers);
  return OkStatus();
}

Result<std::optional<RoundRecord>> Store::LastRound() {
  ASSIGN_OR_RETURN(std::vector<RoundRecord> last, ReadRounds(database_, "ORDER BY r.round DESC LIMIT 1"));
  if (last.empty()) return std::optional<RoundRecord>();
  return std::optional(std::move(last.front()));
}

Result<Checkpoint> Store::LoadCheckpoint(std::uint32_t round, std::shared_ptr<const ParamLayout> layout) const {
  return ReadCheckpoint(JoinPath(folder_, ParamsFile(round)), std::move(layout));
}

Result<ResumePoint> Store::LoadResumePoint(std::uint32_t separation) {
  ResumePoint resume;
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, ReadRounds(database_, "ORDER BY r.round"));
  FEDPEFT_CHECK(!rounds.empty());
  resume.committed_round = rounds.back().round;
  resume.committed_attempt = rounds.back().attempt;
  resume.evaluated = rounds.back().complete;
  for (const RoundRecord& round : rounds) {
    if (round.evaluation) resume.evaluations.push_back(round.evaluation->counts);
  }
  ASSIGN_OR_RETURN(
      Statement attempts,
      database_.Prepare("SELECT attempt, status, unmasking FROM attempts WHERE round = ? ORDER BY attempt"));
  attempts.Bind(resume.committed_round + 1);
  if (rounds.back().secure) resume.range = rounds.back().secure->next_range;
  if (rounds.back().privacy) resume.clip = rounds.back().privacy->next_clip;
  ASSIGN_OR_RETURN(resume.released, ReadReleases(database_));
  bool repeat = false;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, attempts.Step());
    if (!row) break;
    resume.last_attempt = attempts.Uint32(0);
    repeat = attempts.Text(1) == "abandoned";
    resume.unmasking = attempts.Int(2) != 0;
    resume.cohort_lost = attempts.Text(1) == "lost";
    if (resume.cohort_lost) ++resume.lost_attempts;
  }
  if (repeat || resume.cohort_lost) {
    ASSIGN_OR_RETURN(Statement cohort, database_.Prepare("SELECT client FROM cohort WHERE round = ? AND attempt = ?"));
    cohort.Bind(resume.committed_round + 1).Bind(resume.last_attempt);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, cohort.Step());
      if (!row) break;
      resume.cohort.push_back(cohort.Text(0));
    }
  }
  ASSIGN_OR_RETURN(
      Statement recent,
      database_.Prepare("SELECT client, max(round) FROM submissions WHERE round > ? + 1 - ? GROUP BY client"));
  recent.Bind(resume.committed_round).Bind(std::max(1u, separation));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, recent.Step());
    if (!row) break;
    resume.recent[recent.Text(0)] = recent.Uint32(1);
  }
  ASSIGN_OR_RETURN(Statement joined, database_.Prepare("SELECT client FROM clients WHERE joined = 1"));
  while (true) {
    ASSIGN_OR_RETURN(const bool row, joined.Step());
    if (!row) return resume;
    resume.expected.insert(joined.Text(0));
  }
}

Result<privacy::SecretKey> Store::NoiseKey(std::uint32_t committed_round) {
  ASSIGN_OR_RETURN(Statement select, database_.Prepare("SELECT key FROM noise"));
  ASSIGN_OR_RETURN(const bool row, select.Step());
  privacy::SecretKey key;
  if (row) {
    const ByteSpan stored = select.Blob(0);
    if (stored.size() != key.bytes().size()) return DataLoss(folder_ + ": the key of the run's noise is damaged");
    std::copy(stored.begin(), stored.end(), key.mutable_bytes().begin());
    return key;
  }
  // Another key's noise would take off nothing of what these rounds added.
  if (committed_round > 0) return DataLoss(folder_ + ": the key of the run's noise is lost");
  key = privacy::RandomSecret<32>(privacy::RandomSource::System());
  ASSIGN_OR_RETURN(Statement insert, database_.Prepare("INSERT INTO noise VALUES (1, ?)"));
  RETURN_IF_ERROR(insert.Bind(ByteSpan(key.bytes())).Run());
  return key;
}

Status Store::ForgetNoiseKey() {
  // Overwritten, and not left in the write-ahead log either.
  RETURN_IF_ERROR(database_.Execute("PRAGMA secure_delete = ON; DELETE FROM noise"));
  return database_.Execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

Status Store::OpenAttempt(const StoreAttempt& attempt) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  ASSIGN_OR_RETURN(Statement insert, database_.Prepare("INSERT INTO attempts (round, attempt, status, started_ms) "
                                                       "VALUES (?, ?, 'open', ?)"));
  RETURN_IF_ERROR(insert.Bind(attempt.round).Bind(attempt.attempt).Bind(UnixMillis()).Run());
  ASSIGN_OR_RETURN(Statement member, database_.Prepare("INSERT INTO cohort VALUES (?, ?, ?)"));
  for (const std::string& client : attempt.cohort) {
    RETURN_IF_ERROR(member.Bind(attempt.round).Bind(attempt.attempt).Bind(client).Run());
  }
  return transaction.Commit();
}

Status Store::EndAttempt(std::uint32_t round, std::uint32_t attempt, const char* status, const std::string& reason) {
  ASSIGN_OR_RETURN(Statement update, database_.Prepare("UPDATE attempts SET status = ?, reason = ?, ended_ms = ? "
                                                       "WHERE round = ? AND attempt = ?"));
  return update.Bind(status).Bind(reason).Bind(UnixMillis()).Bind(round).Bind(attempt).Run();
}

Status Store::MarkUnmasking(std::uint32_t round, std::uint32_t attempt,
                            const std::optional<privacy::Release>& release) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  ASSIGN_OR_RETURN(Statement update,
                   database_.Prepare("UPDATE attempts SET unmasking = 1 WHERE round = ? AND attempt = ?"));
  RETURN_IF_ERROR(update.Bind(round).Bind(attempt).Run());
  RETURN_IF_ERROR(InsertRelease(round, attempt, release));
  return transaction.Commit();
}

Status Store::InsertRelease(std::uint32_t round, std::uint32_t attempt,
                            const std::optional<privacy::Release>& release) {
  if (!release) return OkStatus();
  ASSIGN_OR_RETURN(Statement insert, database_.Prepare("INSERT OR IGNORE INTO releases VALUES (?, ?, ?, ?)"));
  return insert.Bind(round).Bind(attempt).Bind(UnixMillis()).Bind(privacy::ReleaseText(*release)).Run();
}

Status Store::LoseAttempt(const server::LoseAttempt& attempt, const std::vector<StoredEvent>& events) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  RETURN_IF_ERROR(EndAttempt(attempt.round, attempt.attempt, "lost", attempt.reason));
  RETURN_IF_ERROR(InsertEvents(events));
  return transaction.Commit();
}

Status Store::Commit(const RoundCommit& commit, const Checkpoint& checkpoint) {
  const RoundRecord& record = commit.record;
  RETURN_IF_ERROR(WriteCheckpoint(JoinPath(folder_, ParamsFile(record.round)), checkpoint));
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  const char* status = commit.void_reason.empty() ? "committed" : "void";
  RETURN_IF_ERROR(EndAttempt(record.round, record.attempt, status, commit.void_reason));
  RETURN_IF_ERROR(InsertRound(commit));
  RETURN_IF_ERROR(InsertEvents(commit.events));
  ASSIGN_OR_RETURN(const std::vector<std::string> old, ForgetOldParams());
  RETURN_IF_ERROR(transaction.Commit());
  RemoveFiles(old);
  return record.complete ? AppendToRoundLog(record.round) : OkStatus();
}

Status Store::InsertRound(const RoundCommit& commit) {
  const RoundRecord& record = commit.record;
  ASSIGN_OR_RETURN(Statement round,
                   database_.Prepare("INSERT INTO rounds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, "
                                     "?)"));
  round.Bind(record.round).Bind(record.attempt).Bind(record.committed_ms).Bind(ByteSpan(record.params_sha256));
  round.Bind(ParamsFile(record.round)).Bind(record.cohort).Bind(record.participants).Bind(record.examples);
  round.Bind(record.train_loss).Bind(record.bytes_up).Bind(record.bytes_down).Bind(record.seconds);
  round.Bind(record.complete).Bind(record.threat);
  if (record.secure) {
    round.Bind(record.secure->saturated).Bind(record.secure->next_range);
  } else {
    round.BindNull().BindNull();
  }
  if (record.privacy) {
    round.Bind(record.privacy->clip).Bind(record.privacy->next_clip).Bind(record.privacy->noise_multiplier);
  } else {
    round.BindNull().BindNull().BindNull();
  }
  RETURN_IF_ERROR(round.Run());
  RETURN_IF_ERROR(InsertRelease(record.round, record.attempt, commit.release));
  ASSIGN_OR_RETURN(Statement submission, database_.Prepare("INSERT INTO submissions VALUES (?, ?, ?, ?, ?, ?, ?)"));
  for (const Submission& one : commit.submissions) {
    submission.Bind(record.round).Bind(one.client);
    if (one.counts) {
      submission.Bind(one.counts->weight).Bind(one.counts->examples).Bind(one.counts->loss).Bind(one.counts->seconds);
    } else {
      for (int i = 0; i < 4; ++i) submission.BindNull();
    }
    RETURN_IF_ERROR(submission.Bind(one.bytes).Run());
  }
  return OkStatus();
}

Status Store::InsertEvents(const std::vector<StoredEvent>& events) {
  ASSIGN_OR_RETURN(Statement insert,
                   database_.Prepare("INSERT INTO events (time_ms, name, round, detail) VALUES (?, ?, ?, ?)"));
  for (const StoredEvent& event : events) {
    RETURN_IF_ERROR(insert.Bind(event.time_ms).Bind(event.name).Bind(event.round).Bind(event.detail).Run());
  }
  return OkStatus();
}

Result<std::vector<std::string>> Store::ForgetOldParams() {
  // Best: the last one marked so. Ties of keep_rounds and best are one row, so nothing is deleted twice.
  ASSIGN_OR_RETURN(
      Statement update,
      database_.Prepare("UPDATE rounds SET params_file = NULL WHERE params_file IS NOT NULL "
                        "AND round <= (SELECT max(round) FROM rounds) - ? "
                        "AND round IS NOT (SELECT max(round) FROM evaluations WHERE best) RETURNING round"));
  update.Bind(keep_rounds_);
  std::vector<std::string> files;
  while (true) {
    ASSIGN_OR_RETURN(const bool row, update.Step());
    if (!row) return files;
    files.push_back(ParamsFile(update.Uint32(0)));
  }
}

void Store::RemoveFiles(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (::unlink(JoinPath(folder_, file).c_str()) != 0 && errno != ENOENT) {
      LogWarning("state.file_not_removed", {{"file", file}, {"error", FromErrno(file, errno).message()}});
    }
  }
}

Status Store::AddEvaluation(const StoreEvaluation& evaluation) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  if (evaluation.total) {
    const EvaluateStats& counts = *evaluation.total;
    ASSIGN_OR_RETURN(Statement insert, database_.Prepare("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?)"));
    insert.Bind(evaluation.round).Bind(evaluation.evaluators).Bind(TotalsText(counts.totals));
    RETURN_IF_ERROR(insert.Bind(counts.seconds).Bind(evaluation.best).Run());
  }
  ASSIGN_OR_RETURN(Statement complete, database_.Prepare("UPDATE rounds SET complete = 1 WHERE round = ?"));
  RETURN_IF_ERROR(complete.Bind(evaluation.round).Run());
  RETURN_IF_ERROR(transaction.Commit());
  return AppendToRoundLog(evaluation.round);
}

Status Store::AppendToRoundLog(std::uint32_t round) {
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> found,
                   ReadRounds(database_, "WHERE r.round = " + std::to_string(round)));
  FEDPEFT_CHECK(found.size() == 1);
  return server::AppendToRoundLog(folder_, found.front(), run_.total_rounds);
}

Status Store::SetJoined(const std::vector<ClientSpec>& clients) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  ASSIGN_OR_RETURN(
      Statement upsert,
      database_.Prepare("INSERT INTO clients VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1) ON CONFLICT (client) DO UPDATE "
                        "SET evaluator = ?2, examples = ?3, held_out = ?4, last_seen_ms = ?5, joined = 1"));
  const std::int64_t now = UnixMillis();
  for (const ClientSpec& client : clients) {
    upsert.Bind(client.id).Bind(client.evaluator).Bind(client.examples).Bind(client.held_out);
    RETURN_IF_ERROR(upsert.Bind(now).Run());
  }
  return transaction.Commit();
}

Status Store::SetLeft(const std::vector<std::string>& clients) {
  ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(database_));
  ASSIGN_OR_RETURN(Statement update,
                   database_.Prepare("UPDATE clients SET last_seen_ms = ?, joined = 0 WHERE client = ?"));
  const std::int64_t now = UnixMillis();
  for (const std::string& client : clients) RETURN_IF_ERROR(update.Bind(now).Bind(client).Run());
  return transaction.Commit();
}

Status Store::SetStatus(RunStatus status, const std::string& reason) {
  run_.status = status;
  run_.reason = reason;
  ASSIGN_OR_RETURN(Statement update, database_.Prepare("UPDATE run SET status = ?, reason = ?"));
  RETURN_IF_ERROR(update.Bind(RunStatusName(status)).Bind(reason).Run());
  return status == RunStatus::kFinished ? ForgetNoiseKey() : OkStatus();
}

}  // namespace fedpeft::server
