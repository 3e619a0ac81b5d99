// RunMachine: the rules of a run as a value. It is told what happened and answers with what to do: whom to ask, when a
// round closes, whether it is committed or lost, when to evaluate, when to stop. It holds no parameters, and owns no
// clock, thread or socket, so a test drives thousands of them. Coordinator carries the actions out.
//
//   waiting → opening (the attempt is being stored) → training → committing (being stored) → evaluating → waiting …
//                                                        └ too few updates: lost, back to waiting
//
// Under secure aggregation those who have trained are summed before the commit: training → summing → committing. A sum
// that fails is a lost attempt too, unless its clients were asked to unmask: they sum no other update of the round
// then, so the round is void and the next one begins where it did.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "configs/run.h"
#include "peft/core/clock.h"
#include "peft/metrics/totals.h"
#include "privacy/noise/random_bits.h"
#include "server/best_tracker.h"
#include "server/events.h"

namespace fedpeft::server {

// ---- what happened -----------------------------------------------------------------------------------------------

/// Joined, for the first time or again (also by a newer session): what was asked of them and is missing is asked again.
struct ClientsArrived {
  std::vector<ClientSpec> clients;
};
struct ClientsDeparted {
  std::vector<std::string> clients;
};
/// The client's update is in the sum, or, under secure aggregation, ready to be. Pre: CheckUpdate said kWanted, and
/// nothing has been handled since.
struct UpdateReady {
  std::string client;
};
/// The client could not do the task. Ignored when it was not asked.
struct TaskFailed {
  std::string client;
};
/// Pre: CheckEvaluation said kWanted. Counts that do not fit the totals are the same as TaskFailed.
struct EvaluationCounted {
  std::string client;
  EvaluateStats stats;
};
/// The sum of the open attempt is damaged: it is lost, or the round is void if it was summed under masks.
struct SumSpoiled {
  std::string reason;
};
/// The client is given no further training task, whenever it joins.
struct ClientExpelled {
  std::string client;
};
/// What OpenSum asked for: the sum is there, or there will be none. Pre: summing.
struct SumClosed {};
struct SumAborted {
  std::string reason;
  /// Clients were asked to unmask.
  bool unmasking = false;
};
/// The last StoreAttempt, CommitRound or VoidRound is durable.
struct AttemptStored {};
struct RoundStored {};
/// Time passed: the first call of all, and when Wakeup() is due.
struct Tick {};

using RoundEvent = std::variant<ClientsArrived, ClientsDeparted, UpdateReady, TaskFailed, EvaluationCounted, SumSpoiled,
                                ClientExpelled, SumClosed, SumAborted, AttemptStored, RoundStored, Tick>;

// ---- what to do --------------------------------------------------------------------------------------------------

struct StoreAttempt {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  std::vector<std::string> cohort;
};
struct AskTrain {
  std::string client;
};
/// Sum the updates of these clients under masks, then report SumClosed or SumAborted.
struct OpenSum {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  std::vector<std::string> clients;
};
/// Step, store, then report RoundStored.
struct CommitRound {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  /// A StoreEvaluation of this round will follow.
  bool evaluation_due = false;
};
/// Store the round with the parameters of the one before, then report RoundStored.
struct VoidRound {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  bool evaluation_due = false;
  std::string reason;
};
struct LoseAttempt {
  std::uint32_t round = 0;
  std::uint32_t attempt = 0;
  std::string reason;
};
struct AskEvaluate {
  std::string client;
};
/// The evaluation of the last committed round is over; without counts when nobody evaluated.
struct StoreEvaluation {
  std::uint32_t round = 0;
  std::optional<EvaluateStats> total;
  std::uint32_t evaluators = 0;
  bool best = false;
};
struct FinishRun {
  std::string reason;
  bool ok = true;
};

using Action = std::variant<StoreAttempt, AskTrain, OpenSum, CommitRound, VoidRound, LoseAttempt, AskEvaluate,
                            StoreEvaluation, FinishRun>;

/// Where a run goes on after the process ended; the default is a new run.
struct ResumePoint {
  std::uint32_t committed_round = 0;
  std::uint32_t committed_attempt = 0;
  /// The committed round's evaluation is over (or was not due).
  bool evaluated = false;
  /// Evaluations so far, by round.
  std::vector<EvaluateStats> evaluations;
  /// The highest attempt number of the next round that was ever opened; 0: none.
  std::uint32_t last_attempt = 0;
  /// Attempts of the next round that were lost for lack of updates (not because the process ended).
  std::uint32_t lost_attempts = 0;
  /// Of the attempt that was open: it is repeated with the same clients if they come back; or of the last one, which
  /// was lost.
  std::vector<std::string> cohort;
  bool cohort_lost = false;
  /// Clients of the last attempt of the next round were asked to unmask: the round is void.
  bool unmasking = false;
  /// Secure aggregation: the range of the next round's values.
  std::optional<double> range = {};
  /// Differential privacy: the norm that the next round's updates are clipped to, what was released before, and the
  /// last round that the budget allows.
  std::optional<double> clip = {};
  std::vector<privacy::Release> released = {};
  std::optional<std::uint32_t> last_affordable_round = {};
  /// Where a client's rounds are to be apart: those who are in one of the last rounds, with the last that each is in.
  std::map<std::string, std::uint32_t> recent = {};
  /// Clients that were joined: they are given some time to come back before anything starts, or the run ends, without
  /// them.
  std::set<std::string> expected;
};

/// What to do with an answer that names a key.
struct Verdict {
  enum class Kind { kWanted, kAlreadyHere, kRefused } kind = Kind::kRefused;
  std::string reason;
};

class RunMachine {
 public:
  enum class Stage { kWaiting, kOpening, kTraining, kSumming, kCommitting, kEvaluating, kFinished };

  /// `random`: what cohorts are drawn from under privacy, where nobody may know them; otherwise the run's seed says.
  RunMachine(const RunSpec& run, ResumePoint resume, privacy::RandomSource& random = privacy::RandomSource::System());

  /// `now` never goes back.
  std::vector<Action> Handle(Instant now, const RoundEvent& event);
  /// When a Tick is wanted at the latest.
  std::optional<Instant> Wakeup() const;

  Verdict CheckUpdate(const TaskKey& key) const;
  Verdict CheckEvaluation(const TaskKey& key) const;

  Stage stage() const { return stage_; }
  /// Of the open attempt, or the last one.
  std::uint32_t round() const { return round_; }
  std::uint32_t attempt() const { return attempt_; }
  std::uint32_t committed_round() const { return committed_round_; }
  std::uint32_t committed_attempt() const { return committed_attempt_; }

 private:
  enum class Member { kGone, kAsked, kDone, kFailed };
  struct Handler;

  void Arrived(const ClientSpec& client);
  void Departed(const std::string& client);
  /// Takes all steps that need no further event.
  void Advance();
  /// No round is left, or early stopping says so.
  bool Over() const;
  Duration Grace() const;
  /// Whether all are there that the first step of this process waits for.
  bool Gathered() const;
  void OpenAttemptIfPossible();
  /// Whether the client's last round is far enough from that one, where it has to be.
  bool MayTakePart(const std::string& client, std::uint32_t round) const;
  /// Of those who have sent an update in the open round.
  void NoteParticipants();
  std::vector<std::string> ChooseCohort(const PhaseSpec& phase);
  /// Whether not all who may be are in the phase's cohorts, which are drawn in secret.
  bool IsDrawn(const PhaseSpec& phase) const;
  /// Each with the probability cohort / population, on its own (Poisson sampling).
  std::vector<std::string> DrawCohort(const PhaseSpec& phase, const std::vector<std::string>& joined);
  void StartTraining();
  void CloseTrainingIfDone();
  void Commit();
  void Lose(const std::string& reason);
  void Void(const std::string& reason);
  /// Of an attempt or a round: too many one after another end the run.
  void CountLoss(const std::string& reason);
  bool EvaluationDue(std::uint32_t round) const;
  void StartEvaluation();
  /// Whether somebody who is missing in the open evaluation may still come (back) in time.
  bool EvaluatorAwaited() const;
  void CloseEvaluationIfDone();
  void Finish(std::string reason, bool ok);
  void Ask(const std::string& client);
  /// As kGone.
  void AddMember(const std::string& client);
  void SetMembers(const std::vector<std::string>& clients);
  void Mark(Member& member, Member state);
  std::size_t Count(Member state) const { return tally_[static_cast<std::size_t>(state)]; }

  // Constant.
  const RunSpec run_;
  /// Of the run, or that its budget allows.
  const std::uint32_t last_round_;

  Stage stage_ = Stage::kWaiting;
  std::unique_ptr<privacy::RandomBits> draws_;
  std::set<std::string> trainers_;
  /// Never among them, in this process.
  std::set<std::string> expelled_;
  /// Where a client's rounds are to be apart: the last round that each client's update came in. Also in a lost attempt:
  /// that one is in no sum and tells nothing, so that for the guarantee it is none; but the client, which cannot know,
  /// is in no other round so soon. It stays free for the round itself, and is drawn first when that is repeated.
  std::map<std::string, std::uint32_t> recent_;
  std::set<std::string> evaluators_;
  ResumePoint resume_;
  bool gathered_ = false;
  /// Until when clients of the former process are waited for; from the first event on.
  std::optional<Instant> grace_ends_;

  std::uint32_t committed_round_;
  std::uint32_t committed_attempt_;
  bool evaluated_;
  std::uint32_t round_;
  std::uint32_t attempt_ = 0;
  /// Of the round to come or open: the highest attempt number so far; all lost attempts (they change the draw of the
  /// cohort), and those of this process.
  std::uint32_t last_attempt_;
  std::uint32_t lost_attempts_;
  std::uint32_t lost_here_ = 0;
  /// Of the round to come or open, where cohorts are drawn in secret: all its attempts are among the same, whoever of
  /// them is there. To draw again would make the sample one of those that did not fail.
  std::optional<std::vector<std::string>> drawn_;
  /// By phase: FewestToDrawFrom.
  std::vector<std::uint32_t> fewest_;
  /// Of the round that is being stored as void.
  std::optional<std::string> void_;
  /// Of the training or evaluation that is open or was last.
  std::map<std::string, Member> members_;
  /// Members by state.
  std::array<std::size_t, 4> tally_{};
  /// The round closes with this many updates: the cohort, less what over-selection added.
  std::size_t wanted_updates_ = 0;
  /// Of the open stage, or the end of the pause after a lost attempt.
  std::optional<Instant> deadline_;
  /// Until when evaluators that are missing in the open evaluation are waited for.
  std::optional<Instant> evaluators_due_;
  /// Of the open evaluation: what the evaluators counted, and the longest that one of them took.
  Totals totals_;
  double evaluation_seconds_ = 0;
  BestTracker best_;

  // Of the call in progress.
  Instant now_{};
  std::vector<Action> actions_;
};

}  // namespace fedpeft::server
