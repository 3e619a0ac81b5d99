// Store: the one writer of a state folder.
//
//   lock                                one process at a time
//   fedpeft.db                          runs, attempts, rounds, submissions, evaluations, clients, events
//   params/round-000012.safetensors     parameters and server optimiser state of a committed round
//   rounds.jsonl                        one line a complete round, for scripts; made anew from the database at start
//
// A round exists once its row does: the parameters' file is complete on the disk before the one transaction that names
// it. What a crash leaves behind besides (temporary files, parameters of no round) is removed at the next start.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "configs/run.h"
#include "peft/core/files.h"
#include "peft/core/status.h"
#include "privacy/accounting/accountant.h"
#include "privacy/crypto/secret.h"
#include "server/checkpoint.h"
#include "server/records.h"
#include "server/round.h"
#include "server/sqlite.h"
#include "server/state_reader.h"

namespace fedpeft::server {

/// Something worth remembering with the round it happened in.
struct StoredEvent {
  std::int64_t time_ms = 0;
  /// Stable dotted name, as in the log.
  std::string name;
  std::uint32_t round = 0;
  std::string detail;
};

/// A round and what is committed with it.
struct RoundCommit {
  RoundRecord record;
  std::vector<Submission> submissions;
  std::vector<StoredEvent> events;
  /// What it releases, as the ledger has it; nothing where there is no noise.
  std::optional<privacy::Release> release = {};
  /// Why its parameters are those of the round before; empty: they are new.
  std::string void_reason = {};
};

/// Threads: one at a time (the store thread's, after Open).
class Store {
 public:
  /// Locks the folder, creates or migrates what is in it, ends attempts that a former process left open.
  /// Errors: kFailedPrecondition: held by another process, of a newer version, or of a run with another configuration.
  static Result<Store> Open(const std::string& folder, const std::string& config, const RunSpec& run);

  const RunRecord& run() const { return run_; }
  /// Where the run goes on. `separation`: of the rounds of a client, where it matters; otherwise 0. Pre: round 0 is
  /// committed.
  Result<ResumePoint> LoadResumePoint(std::uint32_t separation = 0);
  /// The secret key of the run's correlated noise: made, and on the disk, before anything depends on it; gone once the
  /// run is finished. `committed_round` > 0: there must be one. Errors: kDataLoss where it is lost.
  Result<privacy::SecretKey> NoiseKey(std::uint32_t committed_round);
  /// Of the last committed round; nothing: not even round 0 is committed.
  Result<std::optional<RoundRecord>> LastRound();
  Result<Checkpoint> LoadCheckpoint(std::uint32_t round, std::shared_ptr<const ParamLayout> layout) const;

  /// All that the ledger has.
  Result<std::vector<privacy::Release>> Releases() { return ReadReleases(database_); }

  Status OpenAttempt(const StoreAttempt& attempt);
  /// Clients are about to be asked to unmask; what that releases is spent, whatever comes of it.
  Status MarkUnmasking(std::uint32_t round, std::uint32_t attempt, const std::optional<privacy::Release>& release);
  Status LoseAttempt(const LoseAttempt& attempt, const std::vector<StoredEvent>& events);
  /// File, then one transaction, then what keep_rounds no longer wants goes.
  Status Commit(const RoundCommit& commit, const Checkpoint& checkpoint);
  /// The round is complete.
  Status AddEvaluation(const StoreEvaluation& evaluation);
  Status SetJoined(const std::vector<ClientSpec>& clients);
  Status SetLeft(const std::vector<std::string>& clients);
  Status SetStatus(RunStatus status, const std::string& reason);

  static std::string DatabasePath(const std::string& folder) { return JoinPath(folder, "fedpeft.db"); }
  /// Relative to the state folder.
  static std::string ParamsFile(std::uint32_t round);

 private:
  Store(FolderLock lock, Database database, std::string folder);
  Status Migrate();
  Status LoadOrCreateRun(const std::string& config, const RunSpec& run);
  Status CheckSameRun(const std::string& config) const;
  Status RemoveLeftovers();
  Status InsertRound(const RoundCommit& commit);
  /// Into the ledger, unless it is there.
  Status InsertRelease(std::uint32_t round, std::uint32_t attempt, const std::optional<privacy::Release>& release);
  Status InsertEvents(const std::vector<StoredEvent>& events);
  Status EndAttempt(std::uint32_t round, std::uint32_t attempt, const char* status, const std::string& reason);
  /// Forgets the files of rounds that need not be kept, in the open transaction; returns their names.
  Result<std::vector<std::string>> ForgetOldParams();
  void RemoveFiles(const std::vector<std::string>& files);
  Status ForgetNoiseKey();
  Status AppendToRoundLog(std::uint32_t round);

  FolderLock lock_;
  Database database_;
  std::string folder_;
  std::uint32_t keep_rounds_ = 1;
  RunRecord run_;
};

}  // namespace fedpeft::server
