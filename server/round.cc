#include "server/round.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <utility>

#include "configs/privacy.h"
#include "peft/core/check.h"
#include "peft/core/random.h"

namespace fedpeft::server {
namespace {

/// Between a lost attempt and the next, so that clients that fail at once do not spin.
constexpr Duration kPauseAfterLoss = std::chrono::seconds(1);
/// Clients of a former process get at least this long to come back.
constexpr double kMinGraceSeconds = 30;

std::string Number(std::uint64_t value) {
  return std::to_string(value);
}

Verdict Refused(std::string reason) {
  return {Verdict::Kind::kRefused, std::move(reason)};
}

}  // namespace

RunMachine::RunMachine(const RunSpec& run, ResumePoint resume, privacy::RandomSource& random)
    : run_(run),
      last_round_(std::min(run.total_rounds(), resume.last_affordable_round.value_or(run.total_rounds()))),
      resume_(std::move(resume)),
      committed_round_(resume_.committed_round),
      committed_attempt_(resume_.committed_attempt),
      evaluated_(resume_.evaluated || !EvaluationDue(resume_.committed_round)),
      round_(resume_.committed_round),
      last_attempt_(resume_.last_attempt),
      lost_attempts_(resume_.lost_attempts),
      best_(run.evaluation) {
  if (run_.privacy.sampled()) draws_ = std::make_unique<privacy::RandomBits>(random);
  for (const EvaluateStats& stats : resume_.evaluations) best_.Add(stats);
  recent_ = std::move(resume_.recent);
  for (const PhaseSpec& phase : run_.schedule) {
    const std::optional<std::uint32_t> fewest =
        run_.privacy.on() ? FewestToDrawFrom(run_, phase) : std::optional(phase.min_clients);
    fewest_.push_back(fewest.value_or(run_.privacy.population));  // `check` refuses such a run
  }
  const bool drawn = committed_round_ < last_round_ && IsDrawn(run_.PhaseAt(committed_round_ + 1));
  if (drawn && !resume_.cohort.empty()) drawn_ = resume_.cohort;
  if (resume_.cohort_lost) resume_.cohort.clear();
}

/// One overload an event; what follows from all of them is Advance()'s and the Close functions'.
struct RunMachine::Handler {
  RunMachine& m;

  void operator()(const ClientsArrived& event) const {
    for (const ClientSpec& client : event.clients) m.Arrived(client);
  }
  void operator()(const ClientsDeparted& event) const {
    for (const std::string& client : event.clients) m.Departed(client);
  }
  void operator()(const UpdateReady& event) const {
    const auto member = m.members_.find(event.client);
    FEDPEFT_CHECK(m.stage_ == Stage::kTraining && member != m.members_.end() && member->second != Member::kDone);
    m.Mark(member->second, Member::kDone);
  }
  void operator()(const TaskFailed& event) const {
    const auto member = m.members_.find(event.client);
    if (member != m.members_.end() && member->second == Member::kAsked) m.Mark(member->second, Member::kFailed);
  }
  void operator()(const EvaluationCounted& event) const {
    const auto member = m.members_.find(event.client);
    FEDPEFT_CHECK(m.stage_ == Stage::kEvaluating && member != m.members_.end() && member->second != Member::kDone);
    const EvaluateStats& stats = event.stats;
    if (!m.totals_.Join(stats.totals).ok()) {
      return m.Mark(member->second, Member::kFailed);
    }
    m.Mark(member->second, Member::kDone);
    m.evaluation_seconds_ = std::max(m.evaluation_seconds_, stats.seconds);
  }
  void operator()(const SumSpoiled& event) const {
    FEDPEFT_CHECK(m.stage_ == Stage::kTraining || m.stage_ == Stage::kCommitting);
    m.run_.secure.on ? m.Void(event.reason) : m.Lose(event.reason);
  }
  void operator()(const ClientExpelled& event) const {
    m.expelled_.insert(event.client);
    m.trainers_.erase(event.client);
    m.resume_.expected.erase(event.client);
  }
  void operator()(const SumClosed&) const {
    FEDPEFT_CHECK(m.stage_ == Stage::kSumming);
    m.Commit();
  }
  void operator()(const SumAborted& event) const {
    FEDPEFT_CHECK(m.stage_ == Stage::kSumming);
    event.unmasking ? m.Void(event.reason) : m.Lose(event.reason);
  }
  void operator()(const AttemptStored&) const {
    FEDPEFT_CHECK(m.stage_ == Stage::kOpening);
    m.StartTraining();
  }
  void operator()(const RoundStored&) const {
    FEDPEFT_CHECK(m.stage_ == Stage::kCommitting);
    m.NoteParticipants();
    m.committed_round_ = m.round_;
    m.committed_attempt_ = m.attempt_;
    m.evaluated_ = !m.EvaluationDue(m.round_);
    m.last_attempt_ = m.lost_attempts_ = 0;
    m.drawn_.reset();
    m.stage_ = Stage::kWaiting;
    const std::optional<std::string> why_void = std::exchange(m.void_, std::nullopt);
    if (why_void) return m.CountLoss(*why_void);
    m.lost_here_ = 0;
  }
  void operator()(const Tick&) const {}
};

std::vector<Action> RunMachine::Handle(Instant now, const RoundEvent& event) {
  now_ = now;
  if (!grace_ends_) grace_ends_ = now + Grace();
  std::visit(Handler{*this}, event);
  Advance();
  return std::exchange(actions_, {});
}

std::optional<Instant> RunMachine::Wakeup() const {
  if (stage_ == Stage::kWaiting && !gathered_) return now_ < *grace_ends_ ? grace_ends_ : std::nullopt;
  if (stage_ == Stage::kEvaluating && EvaluatorAwaited()) return std::min(*deadline_, *evaluators_due_);
  return deadline_;
}

void RunMachine::Arrived(const ClientSpec& client) {
  // In other roles than before: what it was asked in those is not waited for.
  const bool gave_up =
      (trainers_.contains(client.id) && !client.trains()) || (evaluators_.contains(client.id) && !client.evaluates());
  if (gave_up) Departed(client.id);
  if (client.trains() && !expelled_.contains(client.id)) trainers_.insert(client.id);
  if (client.evaluates()) evaluators_.insert(client.id);
  const bool open =
      (client.trains() && stage_ == Stage::kTraining) || (client.evaluates() && stage_ == Stage::kEvaluating);
  // A cohort is fixed; an evaluation takes whoever comes in time.
  if (open && stage_ == Stage::kEvaluating) AddMember(client.id);
  const auto member = members_.find(client.id);
  // Under secure aggregation what it had ready may not be with this process.
  const bool took_it_along = run_.secure.on && stage_ == Stage::kTraining;
  if (open && member != members_.end() && (member->second != Member::kDone || took_it_along)) Ask(client.id);
}

void RunMachine::Departed(const std::string& client) {
  trainers_.erase(client);
  evaluators_.erase(client);
  resume_.expected.erase(client);  // it was back, and is gone again
  const auto member = members_.find(client);
  if (member == members_.end()) return;
  const bool took_it_along = run_.secure.on && stage_ == Stage::kTraining && member->second == Member::kDone;
  if (member->second != Member::kAsked && !took_it_along) return;
  Mark(member->second, Member::kGone);
  if (stage_ == Stage::kEvaluating) evaluators_due_ = now_ + Seconds(run_.limits.client_timeout_s);
}

void RunMachine::Ask(const std::string& client) {
  Mark(members_.at(client), Member::kAsked);
  if (stage_ == Stage::kTraining) {
    actions_.emplace_back(AskTrain{client});
  } else {
    actions_.emplace_back(AskEvaluate{client});
  }
}

void RunMachine::Advance() {
  if (stage_ == Stage::kTraining) CloseTrainingIfDone();
  if (stage_ == Stage::kEvaluating) CloseEvaluationIfDone();
  if (stage_ != Stage::kWaiting) return;
  if (!gathered_ && !Gathered()) return;
  gathered_ = true;
  if (Over()) {
    if (last_round_ < run_.total_rounds() && committed_round_ >= last_round_) {
      return Finish("the privacy budget allows no round after " + Number(last_round_), true);
    }
    return Finish(committed_round_ >= last_round_
                      ? "all rounds are done"
                      : "no better evaluation in " + Number(run_.evaluation.patience) + " (evaluation.patience)",
                  true);
  }
  if (!evaluated_) {
    StartEvaluation();
    return Advance();  // at most twice: nobody to ask ends it at once
  }
  if (deadline_ && now_ < *deadline_) return;
  deadline_.reset();
  OpenAttemptIfPossible();
}

bool RunMachine::Over() const {
  return evaluated_ && (committed_round_ >= last_round_ || best_.Exhausted());
}

Duration RunMachine::Grace() const {
  const double grace = std::max(run_.limits.client_timeout_s, kMinGraceSeconds);
  // Nothing is held up by waiting for those who have not heard that the run is over.
  if (Over()) return Seconds(grace);
  double longest = 0;
  for (const PhaseSpec& phase : run_.schedule) longest = std::max(longest, phase.deadline_s);
  return Seconds(std::min(grace, longest));
}

bool RunMachine::Gathered() const {
  const bool late = now_ >= *grace_ends_;
  const bool all_back = std::all_of(
      resume_.expected.begin(), resume_.expected.end(),
      [this](const std::string& client) { return trainers_.contains(client) || evaluators_.contains(client); });
  if (!all_back && !late) return false;
  if (Over()) return true;
  // A run that was under way goes on with whom it has; one that has yet to start does not start without its evaluators.
  const bool started = committed_round_ > 0 || evaluated_;
  if (started && late) return true;
  const bool training_left = committed_round_ < last_round_;
  if (training_left && trainers_.size() < run_.PhaseAt(committed_round_ + 1).min_clients) return false;
  return run_.evaluation.every == 0 || evaluators_.size() >= run_.evaluation.min_evaluators;
}

void RunMachine::OpenAttemptIfPossible() {
  if (std::exchange(resume_.unmasking, false)) {
    resume_.cohort.clear();
    round_ = committed_round_ + 1;
    attempt_ = last_attempt_;
    return Void("the coordinator ended while its sum was unmasked");
  }
  const PhaseSpec& phase = run_.PhaseAt(committed_round_ + 1);
  const auto free = std::count_if(trainers_.begin(), trainers_.end(),
                                  [&](const auto& id) { return MayTakePart(id, committed_round_ + 1); });
  if (static_cast<std::size_t>(free) < fewest_[static_cast<std::size_t>(&phase - run_.schedule.data())]) return;
  round_ = committed_round_ + 1;
  attempt_ = ++last_attempt_;
  std::vector<std::string> cohort = ChooseCohort(phase);
  resume_.cohort.clear();
  const bool all = phase.cohort == 0 || run_.privacy.sampled();
  wanted_updates_ = all ? cohort.size() : std::min<std::size_t>(phase.cohort, cohort.size());
  SetMembers(cohort);
  stage_ = Stage::kOpening;
  actions_.emplace_back(StoreAttempt{round_, attempt_, std::move(cohort)});
}

bool RunMachine::MayTakePart(const std::string& client, std::uint32_t round) const {
  const auto last = recent_.find(client);
  return last == recent_.end() || last->second == round || round - last->second >= run_.privacy.min_separation;
}

void RunMachine::NoteParticipants() {
  if (!run_.privacy.correlated()) return;
  for (const auto& [client, state] : members_) {
    if (state == Member::kDone) recent_[client] = round_;
  }
}

bool RunMachine::IsDrawn(const PhaseSpec& phase) const {
  return run_.privacy.sampled() && phase.cohort < run_.privacy.population;
}

std::vector<std::string> RunMachine::ChooseCohort(const PhaseSpec& phase) {
  if (drawn_) return *drawn_;
  const bool same = !resume_.cohort.empty() && std::all_of(resume_.cohort.begin(), resume_.cohort.end(),
                                                           [this](const auto& id) { return trainers_.contains(id); });
  if (same) return resume_.cohort;
  std::vector<std::string> joined;
  std::copy_if(trainers_.begin(), trainers_.end(), std::back_inserter(joined),
               [this](const auto& id) { return MayTakePart(id, round_); });
  if (run_.privacy.sampled()) {
    std::vector<std::string> cohort = DrawCohort(phase, joined);
    if (IsDrawn(phase)) drawn_ = cohort;
    return cohort;
  }
  const double wanted = std::ceil(phase.cohort * (1 + phase.over_selection));
  if (phase.cohort == 0 || wanted >= static_cast<double>(joined.size())) return joined;
  RandomStream stream(run_.seed, "cohort", {round_, lost_attempts_});
  stream.Shuffle(std::span<std::string>(joined));
  std::stable_partition(joined.begin(), joined.end(), [this](const auto& id) {
    const auto last = recent_.find(id);
    return last != recent_.end() && last->second == round_;
  });
  joined.resize(static_cast<std::size_t>(wanted));
  std::sort(joined.begin(), joined.end());
  return joined;
}

std::vector<std::string> RunMachine::DrawCohort(const PhaseSpec& phase, const std::vector<std::string>& joined) {
  std::vector<std::string> drawn;
  // The cost is reckoned for so many; whoever comes beyond them, by name, takes no part.
  for (const std::string& client :
       std::span(joined).first(std::min<std::size_t>(joined.size(), run_.privacy.population))) {
    if (draws_->Below(run_.privacy.population) < phase.cohort) drawn.push_back(client);
  }
  while (drawn.size() > MostInRound(run_, phase)) {
    drawn.erase(drawn.begin() + static_cast<std::ptrdiff_t>(draws_->Below(drawn.size())));
  }
  return drawn;
}

void RunMachine::StartTraining() {
  if (run_.secure.on && run_.privacy.sampled() && members_.size() < run_.PhaseAt(round_).min_clients) {
    return Void("too few of the clients were drawn for a sum that hides each");
  }
  stage_ = Stage::kTraining;
  deadline_ = now_ + Seconds(run_.PhaseAt(round_).deadline_s);
  for (const auto& [client, state] : members_) {
    if (trainers_.contains(client)) Ask(client);
  }
}

void RunMachine::CloseTrainingIfDone() {
  const std::size_t updates = Count(Member::kDone);
  const bool late = now_ >= *deadline_;
  if (updates < wanted_updates_ && Count(Member::kAsked) > 0 && !late) return;
  deadline_.reset();
  const std::uint32_t min_clients = run_.PhaseAt(round_).min_clients;
  // Whatever came of a sample is released: a round that few are in is as good, and says nothing by being repeated.
  if (updates < min_clients && (run_.secure.on || !run_.privacy.sampled())) {
    if (IsDrawn(run_.PhaseAt(round_))) return Lose("too few of those who were drawn sent an update");
    return Lose(Number(updates) + " of " + Number(members_.size()) + " clients sent an update " +
                (late ? "by the deadline" : "and no other is left") + ", want " + Number(min_clients));
  }
  if (!run_.secure.on) return Commit();
  stage_ = Stage::kSumming;
  OpenSum open{round_, attempt_, {}};
  for (const auto& [client, state] : members_) {
    if (state == Member::kDone) open.clients.push_back(client);
  }
  actions_.emplace_back(std::move(open));
}

void RunMachine::Commit() {
  stage_ = Stage::kCommitting;
  actions_.emplace_back(CommitRound{round_, attempt_, EvaluationDue(round_)});
}

void RunMachine::Void(const std::string& reason) {
  stage_ = Stage::kCommitting;
  void_ = reason;
  actions_.emplace_back(VoidRound{round_, attempt_, EvaluationDue(round_), reason});
}

void RunMachine::Lose(const std::string& reason) {
  stage_ = Stage::kWaiting;
  deadline_ = now_ + kPauseAfterLoss;
  NoteParticipants();
  ++lost_attempts_;
  actions_.emplace_back(LoseAttempt{round_, attempt_, reason});
  CountLoss(reason);
}

void RunMachine::CountLoss(const std::string& reason) {
  if (++lost_here_ >= run_.limits.max_attempts) {
    Finish("round " + Number(round_) + ": lost " + Number(lost_here_) +
               " attempts (limits.max_attempts), the last: " + reason,
           false);
  }
}

bool RunMachine::EvaluationDue(std::uint32_t round) const {
  const std::uint32_t every = run_.evaluation.every;
  return every > 0 && (round % every == 0 || round == last_round_);
}

void RunMachine::StartEvaluation() {
  stage_ = Stage::kEvaluating;
  deadline_ = now_ + Seconds(run_.evaluation.deadline_s);
  SetMembers({evaluators_.begin(), evaluators_.end()});
  evaluators_due_.reset();
  const bool missing = evaluators_.empty() && run_.evaluation.min_evaluators > 0;
  if (missing) evaluators_due_ = now_ + Seconds(run_.limits.client_timeout_s);
  totals_ = {};
  evaluation_seconds_ = 0;
  for (const std::string& client : evaluators_) Ask(client);
}

bool RunMachine::EvaluatorAwaited() const {
  const bool missing = members_.empty() || Count(Member::kGone) > 0;
  return missing && evaluators_due_ && now_ < *evaluators_due_;
}

void RunMachine::CloseEvaluationIfDone() {
  if ((Count(Member::kAsked) > 0 || EvaluatorAwaited()) && now_ < *deadline_) return;
  stage_ = Stage::kWaiting;
  deadline_.reset();
  evaluated_ = true;
  StoreEvaluation result{.round = committed_round_, .total = std::nullopt, .evaluators = 0, .best = false};
  if (totals_.examples() > 0) {
    result.total = {totals_, evaluation_seconds_};
    result.evaluators = static_cast<std::uint32_t>(Count(Member::kDone));
    result.best = best_.Add(*result.total);
  }
  actions_.emplace_back(result);
}

void RunMachine::Finish(std::string reason, bool ok) {
  stage_ = Stage::kFinished;
  deadline_.reset();
  actions_.emplace_back(FinishRun{std::move(reason), ok});
}

Verdict RunMachine::CheckUpdate(const TaskKey& key) const {
  const std::string name = "round " + Number(key.round) + " attempt " + Number(key.attempt);
  const bool open = stage_ == Stage::kTraining || stage_ == Stage::kCommitting;
  if (!open || key.round != round_ || key.attempt != attempt_ || key.step != kTrainStep) {
    return Refused(name + ": is not open" +
                   (open ? ", round " + Number(round_) + " attempt " + Number(attempt_) + " is" : std::string()));
  }
  const auto member = members_.find(key.client_id);
  if (member == members_.end()) return Refused(name + ": " + key.client_id + " is not in the cohort");
  if (member->second == Member::kDone) return {Verdict::Kind::kAlreadyHere, {}};
  if (stage_ == Stage::kCommitting) return Refused(name + ": is closed");
  return {Verdict::Kind::kWanted, {}};
}

Verdict RunMachine::CheckEvaluation(const TaskKey& key) const {
  const std::string name = "evaluation of round " + Number(key.round);
  if (stage_ != Stage::kEvaluating || key.round != committed_round_ || key.attempt != committed_attempt_ ||
      key.step != kEvaluateStep) {
    return Refused(name + ": is not open");
  }
  const auto member = members_.find(key.client_id);
  if (member == members_.end()) return Refused(name + ": " + key.client_id + " was not asked");
  if (member->second == Member::kDone) return {Verdict::Kind::kAlreadyHere, {}};
  return {Verdict::Kind::kWanted, {}};
}

void RunMachine::SetMembers(const std::vector<std::string>& clients) {
  members_.clear();
  tally_ = {};
  for (const std::string& client : clients) AddMember(client);
}

void RunMachine::AddMember(const std::string& client) {
  if (members_.emplace(client, Member::kGone).second) ++tally_[static_cast<std::size_t>(Member::kGone)];
}

void RunMachine::Mark(Member& member, Member state) {
  --tally_[static_cast<std::size_t>(member)];
  ++tally_[static_cast<std::size_t>(state)];
  member = state;
}

}  // namespace fedpeft::server
