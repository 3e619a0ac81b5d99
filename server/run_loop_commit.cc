// What the loop does when a round closes: its sum becomes the next parameters, durable before anybody gets them.
#include <algorithm>
#include <utility>

#include "configs/privacy.h"
#include "peft/core/log.h"
#include "server/run_loop.h"

namespace fedpeft::server {

Result<RoundMean> RunLoop::Reduce() {
  if (!run_.secure.on) return std::exchange(sum_, nullptr)->Finish();
  return RoundMean{{std::move(outcome_->mean), outcome_->total_weight, outcome_->clients.size()}, clip_};
}

std::optional<privacy::Release> RunLoop::ReleaseOf(std::uint32_t round) const {
  if (!run_.privacy.in_ledger()) return std::nullopt;
  return *RoundRelease(run_, round);  // all rounds were reckoned at the start
}

void RunLoop::Commit(const CommitRound& action) {
  CloseTasks();
  Result<RoundMean> mean = Reduce();
  if (!mean.ok()) return Feed(SumSpoiled{mean.status().message()});
  Result<std::shared_ptr<const Checkpoint>> next = model_.Step(action.round, std::move(mean->reduced));
  if (!next.ok()) return Feed(SumSpoiled{next.status().message()});
  if (mean->not_finite > 0) {
    LogWarning("updates.not_finite", {{"round", action.round}, {"values", mean->not_finite}});
    Remember("updates.not_finite", std::to_string(mean->not_finite) + " values, taken for zero");
  }
  RoundCommit commit = Summarise(action);
  if (run_.privacy.in_ledger()) {
    commit.record.privacy = {clip_, *mean->next_clip, run_.privacy.noise_multiplier};
    commit.release = ReleaseOf(action.round);
    clip_ = *mean->next_clip;
  }
  if (outcome_) range_ = outcome_->next_range;
  outcome_.reset();
  auto blob = std::make_shared<const Bytes>(model_.Encode(**next));
  StoreRound(std::move(commit), *next, std::move(blob));
}

void RunLoop::Void(const VoidRound& action) {
  CloseTasks();
  secure_.reset();
  outcome_.reset();
  LogWarning("round.void",
             {{"round", action.round}, {"attempt", action.attempt}, {"threat", threat_}, {"reason", action.reason}});
  Remember("round.void", action.reason);
  submissions_.clear();
  RoundCommit commit = Summarise({action.round, action.attempt, action.evaluation_due});
  commit.void_reason = action.reason;
  StoreRound(std::move(commit), model_.checkpoint(),
             std::make_shared<const Bytes>(model_.Encode(*model_.checkpoint())));
}

void RunLoop::StoreRound(RoundCommit commit, std::shared_ptr<const Checkpoint> next,
                         std::shared_ptr<const Bytes> blob) {
  commit.record.params_sha256 = Sha256Of(*blob);
  persist_([commit, next](Store& store) { return store.Commit(commit, *next); },
           [this, record = commit.record, next, blob] { Committed(record, next, blob); });
  events_.clear();
}

RoundCommit RunLoop::Summarise(const CommitRound& action) const {
  RoundCommit commit{{}, submissions_, events_};
  RoundRecord& record = commit.record;
  record.round = action.round;
  record.attempt = action.attempt;
  record.committed_ms = UnixMillis();
  record.threat = threat_;
  if (run_.secure.on) record.secure = {outcome_ ? outcome_->saturated : 0, outcome_ ? outcome_->next_range : range_};
  record.cohort = cohort_;
  record.participants = static_cast<std::uint32_t>(submissions_.size());
  // By name, so that the recorded loss does not depend on arrival order either.
  std::sort(commit.submissions.begin(), commit.submissions.end(),
            [](const Submission& a, const Submission& b) { return a.client < b.client; });
  double loss_sum = 0;
  for (const Submission& one : commit.submissions) {
    record.bytes_up += one.bytes;
    if (!one.counts) continue;
    record.examples += one.counts->examples;
    loss_sum += one.counts->loss * static_cast<double>(one.counts->examples);
  }
  if (record.examples > 0) record.train_loss = loss_sum / static_cast<double>(record.examples);
  if (outcome_) {
    record.examples = outcome_->examples;
    record.train_loss = outcome_->train_loss;
  }
  record.bytes_down = bytes_down_;
  record.seconds = ToSeconds(clock_.Now() - started_);
  record.complete = !action.evaluation_due;
  return commit;
}

void RunLoop::Committed(const RoundRecord& record, std::shared_ptr<const Checkpoint> checkpoint,
                        std::shared_ptr<const Bytes> blob) {
  model_.Replace(std::move(checkpoint));
  Publish(std::move(blob));
  LogInfo("round.committed", {{"round", record.round},
                              {"attempt", record.attempt},
                              {"participants", record.participants},
                              {"cohort", record.cohort},
                              {"train_loss", record.train_loss.value_or(0)},
                              {"bytes_up", record.bytes_up},
                              {"bytes_down", record.bytes_down},
                              {"seconds", record.seconds},
                              {"threat", record.threat},
                              {"params_sha256", Hex(record.params_sha256)}});
  if (run_.privacy.in_ledger()) ReportSpent(record.round);
  for (const auto& [session, client] : clients_.sessions()) {
    outbox_->Send(session, MakeTask({client, record.round, record.attempt, kClosedStep}, RoundClosed{record.round}));
  }
  Feed(RoundStored{});
}

void RunLoop::ReportSpent(std::uint32_t round) {
  // On the store thread: it takes a while, and nobody waits for it.
  persist_(
      [round, run = run_](Store& store) -> Status {
        ASSIGN_OR_RETURN(const std::vector<privacy::Release> released, store.Releases());
        ASSIGN_OR_RETURN(const double epsilon, EpsilonOf(run, released));
        LogInfo("privacy.spent", {{"round", round},
                                  {"epsilon", epsilon},
                                  {"budget", run.privacy.budget.epsilon},
                                  {"delta", run.privacy.budget.delta}});
        return OkStatus();
      },
      [] {});
}

}  // namespace fedpeft::server
