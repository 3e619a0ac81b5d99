// RunLoop: what the coordinator's loop thread does with an event. It checks what clients say, adds their updates,
// carries out what RunMachine decides, and sends only what is durable. One thread; the queue around it is
// Coordinator's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "configs/run.h"
#include "peft/core/clock.h"
#include "server/client_registry.h"
#include "server/coordinator.h"
#include "server/events.h"
#include "server/global_model.h"
#include "server/round.h"
#include "server/round_sum.h"
#include "server/secure_round.h"
#include "server/store.h"

namespace fedpeft::server {

class RunLoop {
 public:
  using Job = std::function<Status(Store&)>;
  /// Runs the job on the store thread, after all jobs before it, and then Stored(status, done) on the loop thread.
  using Persist = std::function<void(Job job, std::function<void()> done)>;

  /// Of the run that goes on.
  struct Setup {
    std::string run_id;
    /// Secure aggregation: who vouches for clients; empty: nobody.
    privacy::CheckCertificate check_certificate = {};
  };
  RunLoop(const RunSpec& run, Setup setup, GlobalModel model, ResumePoint resume, const Clock& clock);

  /// Publishes the parameters and starts the run. `outbox` must outlive this object; `ended` is called at most once.
  void Start(Outbox& outbox, Persist persist, std::function<void(RunOutcome)> ended);
  void Handle(Event event);
  /// A store job has ended: goes on with what waits for it, or ends the run.
  void Stored(const Status& status, const std::function<void()>& done);
  void Tick();
  /// Hands over to the store what waits for an earlier job. Nothing is handled afterwards.
  void Flush();
  /// When Tick is wanted.
  std::optional<Instant> Wakeup() const;

  const GlobalModel& model() const { return model_; }

  /// Answers an event that nobody will handle any more.
  static void Turn(Event event);

 private:
  struct EventHandler;
  struct ActionHandler;
  struct SecureHandler;

  void Feed(const RoundEvent& event);
  /// The run cannot go on; every further event is answered with kUnavailable.
  void Fail(const Status& why);
  /// Stores who came and went: one job at a time, however many do.
  void StorePresence();
  // What clients say.
  void Joined(const ClientsJoined& event);
  void Left(const ClientsLeft& event);
  /// Whether the update is wanted from this client now.
  UploadDecision Decide(SessionId session, const UploadManifest& manifest) const;
  /// The same under secure aggregation, for masked vectors.
  Verdict CheckMasked(const TaskKey& key) const;
  /// The key is of the sum that is open under secure aggregation.
  bool IsOfSum(const TaskKey& key) const;
  /// What the update claims to be. Pre: Decide said kWanted. Errors: kInvalidArgument, for good.
  Status CheckManifest(const UploadManifest& manifest) const;
  void Offered(const UploadOffered& event);
  void Arrived(UploadArrived event);
  Status Count(const UploadArrived& event);
  void Answered(const TaskAnswered& event);
  Status Take(const TaskAnswered& event, const EvaluateStats& stats) { return Evaluated(event, stats); }
  Status Take(const TaskAnswered& event, const Trained& trained);
  Status Take(const TaskAnswered& event, const SecureAnswer& answer);
  Status Take(const TaskAnswered& event, const Status& failure);
  void Refused(const std::string& client, const std::string& reason);
  Status Evaluated(const TaskAnswered& event, const EvaluateStats& stats);
  // What the machine wants.
  void Open(const StoreAttempt& action);
  void Sum(const OpenSum& action);
  void Commit(const CommitRound& action);
  void Void(const VoidRound& action);
  Result<RoundMean> Reduce();
  /// What the round releases, as the ledger has it; nothing where there is no differential privacy.
  std::optional<privacy::Release> ReleaseOf(std::uint32_t round) const;
  void StoreRound(RoundCommit commit, std::shared_ptr<const Checkpoint> next, std::shared_ptr<const Bytes> blob);
  RoundCommit Summarise(const CommitRound& action) const;
  // Secure aggregation: what its session wants.
  void FeedSum(const privacy::SecureEvent& event);
  void AskUnmask(std::vector<privacy::SecureAsk> asks);
  void SumFinished(const privacy::SecureFinished& finished);
  void SumFailed(const std::string& reason);
  /// Clients that are gone from the sum, or came back as another process.
  void LeaveSum(std::vector<std::string> clients);
  void Committed(const RoundRecord& record, std::shared_ptr<const Checkpoint> checkpoint,
                 std::shared_ptr<const Bytes> blob);
  /// Logs what the run has cost.
  void ReportSpent(std::uint32_t round);
  void Lost(const LoseAttempt& action);
  void Evaluation(const StoreEvaluation& action);
  void Finish(const FinishRun& action);

  /// Sends a task that is to be answered.
  void Ask(TaskKey key, decltype(Task::body) body);
  void SendFinished(SessionId session, const std::string& client);
  /// Nobody is waited for any more.
  void CloseTasks();
  void Publish(std::shared_ptr<const Bytes> blob);
  void Remember(const char* name, std::string detail);

  const RunSpec run_;
  const Setup setup_;
  /// Of secure aggregation, in words, for logs.
  const std::string threat_;
  const Clock& clock_;
  GlobalModel model_;
  RunMachine machine_;
  ClientRegistry clients_;
  Outbox* outbox_ = nullptr;
  Persist persist_;
  std::function<void(RunOutcome)> ended_;
  bool failed_ = false;
  std::optional<RunFinished> finished_;

  /// Who came, and (nothing) who went, since the last job that stores it was made.
  std::map<std::string, std::optional<ClientSpec>> presence_;
  bool storing_presence_ = false;

  BlobRef params_;
  std::set<SessionId> busy_;
  // Of the open attempt.
  std::unique_ptr<RoundSum> sum_;
  /// Under secure aggregation, in place of it: the session while it lasts, and then what came of it.
  std::optional<SecureRound> secure_;
  std::optional<SecureOutcome> outcome_;
  /// Clients are asked to unmask, or about to be.
  bool unmasking_ = false;
  /// Of the next round's values, under secure aggregation; and what its updates are clipped to, under privacy.
  double range_, clip_;
  Digest payload_{};
  std::vector<Submission> submissions_;
  std::uint32_t cohort_ = 0;
  std::uint64_t bytes_down_ = 0;
  Instant started_{};
  /// Goes into the database with the round.
  std::vector<StoredEvent> events_;
};

}  // namespace fedpeft::server
