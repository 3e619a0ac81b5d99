#include "server/run_loop.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "peft/core/log.h"
#include "peft/metrics/metrics.h"
#include "server/claims.h"

namespace fedpeft::server {
namespace {

/// Events a round that are remembered; all of them are in the log.
constexpr std::size_t kMaxEvents = 1000;

UploadDecision Refuse(std::string reason) {
  return {UploadDecision::Kind::kRefused, std::move(reason)};
}

Status Stopping() {
  return Unavailable("coordinator: is stopping (offer it to the next one)");
}

}  // namespace

RunLoop::RunLoop(const RunSpec& run, Setup setup, GlobalModel model, ResumePoint resume, const Clock& clock)
    : run_(run),
      setup_(std::move(setup)),
      threat_(std::string(ThreatName(run_.secure)) + (setup_.check_certificate ? ", identities checked here" : "")),
      clock_(clock),
      model_(std::move(model)),
      machine_(run_, resume),
      range_(resume.range.value_or(run_.secure.range)),
      clip_(resume.clip.value_or(run_.privacy.clip)) {}

void RunLoop::Start(Outbox& outbox, Persist persist, std::function<void(RunOutcome)> ended) {
  outbox_ = &outbox;
  persist_ = std::move(persist);
  ended_ = std::move(ended);
  started_ = clock_.Now();
  Publish(std::make_shared<const Bytes>(model_.Encode(*model_.checkpoint())));
  LogInfo("run.started", {{"run", run_.name},
                          {"round", machine_.committed_round()},
                          {"rounds", run_.total_rounds()},
                          {"parameters", std::uint64_t{model_.layout()->size()}},
                          {"bytes_down", params_.length},
                          {"bytes_up", model_.max_update_bytes()}});
  Tick();
}

void RunLoop::Fail(const Status& why) {
  if (failed_) return;
  failed_ = true;
  LogError("run.failed", {{"reason", why.message()}});
  ended_({RunOutcome::Kind::kFailed, why.message()});
}

void RunLoop::Stored(const Status& status, const std::function<void()>& done) {
  if (failed_) return;
  if (!status.ok()) return Fail(status.Annotate("state folder"));
  done();
}

void RunLoop::Tick() {
  if (failed_) return;
  FeedSum(privacy::SecureTick{});
  Feed(server::Tick{});
}

std::optional<Instant> RunLoop::Wakeup() const {
  if (failed_) return std::nullopt;
  const std::optional<Instant> rules = machine_.Wakeup(), sum = secure_ ? secure_->Wakeup() : std::nullopt;
  return rules && sum ? std::min(*rules, *sum) : (rules ? rules : sum);
}

void RunLoop::Flush() {
  storing_presence_ = false;
  if (!failed_) StorePresence();
}

void RunLoop::StorePresence() {
  if (storing_presence_ || presence_.empty()) return;
  storing_presence_ = true;
  const auto job = [changes = std::exchange(presence_, {})](Store& store) -> Status {
    std::vector<ClientSpec> joined;
    std::vector<std::string> left;
    for (const auto& [id, client] : changes) {
      if (client) {
        joined.push_back(*client);
      } else {
        left.push_back(id);
      }
    }
    RETURN_IF_ERROR(store.SetJoined(joined));
    return store.SetLeft(left);
  };
  persist_(job, [this] {
    storing_presence_ = false;
    StorePresence();
  });
}

void RunLoop::Turn(Event event) {
  if (auto* offered = std::get_if<UploadOffered>(&event)) offered->answer({UploadDecision::Kind::kUnavailable, {}});
  if (auto* arrived = std::get_if<UploadArrived>(&event)) arrived->answer(Stopping());
  if (auto* answered = std::get_if<TaskAnswered>(&event)) answered->answer(Stopping());
}

// ---- what clients say ----------------------------------------------------------------------------------------------

struct RunLoop::EventHandler {
  RunLoop& loop;
  void operator()(ClientsJoined& event) const { loop.Joined(event); }
  void operator()(ClientsLeft& event) const { loop.Left(event); }
  void operator()(UploadOffered& event) const { loop.Offered(event); }
  void operator()(UploadArrived& event) const { loop.Arrived(std::move(event)); }
  void operator()(TaskAnswered& event) const { loop.Answered(event); }
  // The queue's to obey: it ends the loop.
  void operator()(StopRequested&) const {}
};

void RunLoop::Handle(Event event) {
  if (failed_) return Turn(std::move(event));
  std::visit(EventHandler{*this}, event);
}

void RunLoop::Joined(const ClientsJoined& event) {
  if (event.clients.empty()) return;
  clients_.Join(event.session, event.clients);
  const ClientSpec& first = event.clients.front();
  LogInfo("client.joined", {{"client", first.id},
                            {"role", first.evaluator ? "evaluator" : "trainer"},
                            {"clients", std::uint64_t{event.clients.size()}},
                            {"joined", std::uint64_t{clients_.clients()}}});
  for (const ClientSpec& client : event.clients) presence_[client.id] = client;
  StorePresence();
  if (finished_) return SendFinished(event.session, first.id);
  std::vector<std::string> came;
  for (const ClientSpec& client : event.clients) came.push_back(client.id);
  LeaveSum(std::move(came));
  Feed(ClientsArrived{event.clients});
}

void RunLoop::Left(const ClientsLeft& event) {
  std::vector<std::string> gone = clients_.Leave(event.session);
  busy_.erase(event.session);
  if (gone.empty()) return;
  LogInfo("client.left", {{"client", gone.front()},
                          {"reason", event.reason},
                          {"clients", std::uint64_t{gone.size()}},
                          {"joined", std::uint64_t{clients_.clients()}}});
  Remember("client.left", gone.front() + ": " + event.reason);
  for (const std::string& client : gone) presence_[client].reset();
  StorePresence();
  LeaveSum(gone);
  Feed(ClientsDeparted{std::move(gone)});
}

UploadDecision RunLoop::Decide(SessionId session, const UploadManifest& manifest) const {
  const std::string& client = manifest.key.client_id;
  if (!clients_.Owns(session, client)) return Refuse(client + ": is not a client of this session");
  const Verdict verdict = run_.secure.on ? CheckMasked(manifest.key) : machine_.CheckUpdate(manifest.key);
  if (verdict.kind == Verdict::Kind::kRefused) return Refuse(verdict.reason);
  if (verdict.kind == Verdict::Kind::kAlreadyHere) return {UploadDecision::Kind::kAlreadyHere, {}};
  return {UploadDecision::Kind::kWanted, {}};
}

Status RunLoop::CheckManifest(const UploadManifest& manifest) const {
  if (manifest.base != params_.sha256) {
    return InvalidArgument("update: is against parameters " + Hex(manifest.base) + ", want " + Hex(params_.sha256));
  }
  if (manifest.payload != payload_) {
    return InvalidArgument("update: has payload " + Hex(manifest.payload) + ", want " + Hex(payload_));
  }
  const std::uint64_t want = run_.secure.on ? secure_->upload_bytes() : sum_->update_bytes();
  if (manifest.length != want) {
    return InvalidArgument("update: has " + std::to_string(manifest.length) + " bytes, want " + std::to_string(want));
  }
  if (run_.reticent()) return OkStatus();
  RETURN_IF_ERROR(CheckTrainStats(manifest.stats));
  return model_.WeightOf(manifest.key.round, clients_.SpecOf(manifest.key.client_id).examples).status();
}

void RunLoop::Offered(const UploadOffered& event) {
  const std::string& client = event.manifest.key.client_id;
  UploadDecision decision = Decide(event.session, event.manifest);
  const bool asked = decision.kind == UploadDecision::Kind::kWanted;
  if (asked) {
    if (const Status content = CheckManifest(event.manifest); !content.ok()) decision = Refuse(content.message());
  }
  const bool refused = decision.kind == UploadDecision::Kind::kRefused;
  if (refused) Refused(client, decision.reason);
  event.answer(std::move(decision));
  // What it has is refused for good: the round need not wait for it.
  if (!asked || !refused) return;
  run_.secure.on ? LeaveSum({client}) : Feed(TaskFailed{client});
}

void RunLoop::Arrived(UploadArrived event) {
  const UploadManifest& manifest = event.manifest;
  const std::string& client = manifest.key.client_id;
  const UploadDecision decision = Decide(event.session, manifest);
  if (decision.kind == UploadDecision::Kind::kAlreadyHere) return event.answer(OkStatus());
  const Status counted =
      decision.kind == UploadDecision::Kind::kWanted ? Count(event) : FailedPrecondition(decision.reason);
  event.answer(counted);
  if (counted.ok()) return run_.secure.on ? FeedSum(privacy::SecureUploaded{client}) : Feed(UpdateReady{client});
  Refused(client, counted.message());
  if (run_.secure.on) {
    // What was wanted and could not be added may be in the sum in part.
    if (decision.kind == UploadDecision::Kind::kWanted) SumFailed(counted.message());
    return;
  }
  if (sum_ && sum_->spoiled()) return Feed(SumSpoiled{counted.message()});
  // What is bad stays bad: the round need not wait for it.
  if (counted.code() == Code::kInvalidArgument) Feed(TaskFailed{client});
}

Status RunLoop::Count(const UploadArrived& event) {
  const UploadManifest& manifest = event.manifest;
  const std::string& client = manifest.key.client_id;
  RETURN_IF_ERROR(CheckManifest(manifest));
  if (run_.secure.on) {
    LogDebug("update.masked", {{"client", client}, {"round", manifest.key.round}});
    return secure_->Add(*event.bytes);
  }
  const std::uint64_t examples = clients_.SpecOf(client).examples;
  ASSIGN_OR_RETURN(const std::uint64_t weight, model_.WeightOf(manifest.key.round, examples));
  UploadedBytes& bytes = *event.bytes;
  RETURN_IF_ERROR(sum_->Add(
      bytes.length(), [&bytes](std::uint64_t offset, MutableByteSpan out) { return bytes.Read(offset, out); }, weight));
  LogDebug("update.counted", {{"client", client}, {"round", manifest.key.round}, {"weight", weight}});
  std::optional<SubmissionCounts> counts;
  if (!run_.reticent()) counts = {weight, examples, manifest.stats.loss, manifest.stats.seconds};
  submissions_.push_back({client, counts, manifest.length});
  return OkStatus();
}

void RunLoop::Refused(const std::string& client, const std::string& reason) {
  LogWarning("update.refused", {{"client", client}, {"reason", reason}});
  Remember("update.refused", client + ": " + reason);
}

void RunLoop::Answered(const TaskAnswered& event) {
  const std::string& client = event.key.client_id;
  if (!clients_.Owns(event.session, client)) {
    return event.answer(FailedPrecondition(client + ": is not a client of this session"));
  }
  const Status taken = std::visit([&](const auto& outcome) { return Take(event, outcome); }, event.outcome);
  event.answer(taken);
  if (!taken.ok()) {
    LogWarning("answer.refused", {{"client", client}, {"step", event.key.step}, {"reason", taken.message()}});
  }
}

Status RunLoop::Take(const TaskAnswered& event, const Trained&) {
  if (!run_.secure.on) return InvalidArgument("answer: got trained, want the update (there is no secure aggregation)");
  const Verdict verdict = machine_.CheckUpdate(event.key);
  if (verdict.kind == Verdict::Kind::kRefused) return FailedPrecondition(verdict.reason);
  if (verdict.kind == Verdict::Kind::kWanted) Feed(UpdateReady{event.key.client_id});
  return OkStatus();
}

Status RunLoop::Take(const TaskAnswered& event, const SecureAnswer& answer) {
  const bool current = event.key.round == machine_.round() && event.key.attempt == machine_.attempt();
  if (!run_.secure.on || !current) return FailedPrecondition("secure aggregation: the sum is not open any more");
  // Without a session the sum is there already, by the shares of others.
  FeedSum(privacy::SecureAnswered{event.key.client_id, answer.bytes});
  return OkStatus();
}

Status RunLoop::Take(const TaskAnswered& event, const Status& failure) {
  const TaskKey& key = event.key;
  LogWarning("client.failed", {{"client", key.client_id}, {"round", key.round}, {"reason", failure.message()}});
  Remember("client.failed", key.client_id + ": " + failure.message());
  if (key.step >= kSecureStep) {
    if (IsOfSum(key)) LeaveSum({key.client_id});
    return OkStatus();
  }
  const Verdict verdict = key.step == kTrainStep ? machine_.CheckUpdate(key) : machine_.CheckEvaluation(key);
  if (verdict.kind == Verdict::Kind::kWanted) Feed(TaskFailed{key.client_id});
  return OkStatus();
}

Status RunLoop::Evaluated(const TaskAnswered& event, const EvaluateStats& stats) {
  const Verdict verdict = machine_.CheckEvaluation(event.key);
  if (verdict.kind == Verdict::Kind::kRefused) return FailedPrecondition(verdict.reason);
  if (verdict.kind == Verdict::Kind::kAlreadyHere) return OkStatus();
  const ClientSpec& client = clients_.SpecOf(event.key.client_id);
  const std::uint64_t held = client.evaluator ? client.examples : client.held_out;
  if (Status sane = CheckEvaluateStats(stats, held, run_.problem); !sane.ok()) {
    Feed(TaskFailed{event.key.client_id});
    return sane;
  }
  Feed(EvaluationCounted{event.key.client_id, stats});
  return OkStatus();
}

// ---- what the machine wants ----------------------------------------------------------------------------------------

struct RunLoop::ActionHandler {
  RunLoop& loop;
  void operator()(const StoreAttempt& action) const { loop.Open(action); }
  void operator()(const AskTrain& action) const {
    const RunMachine& machine = loop.machine_;
    loop.bytes_down_ += loop.params_.length;
    loop.Ask({action.client, machine.round(), machine.attempt(), kTrainStep}, TrainTask{loop.params_});
  }
  void operator()(const OpenSum& action) const { loop.Sum(action); }
  void operator()(const CommitRound& action) const { loop.Commit(action); }
  void operator()(const VoidRound& action) const { loop.Void(action); }
  void operator()(const LoseAttempt& action) const { loop.Lost(action); }
  void operator()(const AskEvaluate& action) const {
    const RunMachine& machine = loop.machine_;
    loop.Ask({action.client, machine.committed_round(), machine.committed_attempt(), kEvaluateStep},
             EvaluateTask{loop.params_});
  }
  void operator()(const StoreEvaluation& action) const { loop.Evaluation(action); }
  void operator()(const FinishRun& action) const { loop.Finish(action); }
};

void RunLoop::Feed(const RoundEvent& event) {
  for (const Action& action : machine_.Handle(clock_.Now(), event)) std::visit(ActionHandler{*this}, action);
}

void RunLoop::Open(const StoreAttempt& action) {
  if (!run_.secure.on) {
    Result<std::unique_ptr<RoundSum>> sum = model_.OpenSum(action.round, clip_);
    if (!sum.ok()) return Fail(sum.status());
    sum_ = *std::move(sum);
  }
  payload_ = model_.Payload(action.round).digest;
  submissions_.clear();
  cohort_ = static_cast<std::uint32_t>(action.cohort.size());
  bytes_down_ = 0;
  persist_([action](Store& store) { return store.OpenAttempt(action); },
           [this, action] {
             started_ = clock_.Now();
             LogInfo("round.started", {{"round", action.round},
                                       {"attempt", action.attempt},
                                       {"cohort", std::uint64_t{action.cohort.size()}}});
             Feed(AttemptStored{});
           });
}

void RunLoop::Lost(const LoseAttempt& action) {
  CloseTasks();
  sum_.reset();
  secure_.reset();
  LogWarning("round.lost",
             {{"round", action.round}, {"attempt", action.attempt}, {"threat", threat_}, {"reason", action.reason}});
  Remember("round.lost", action.reason);
  persist_([action, events = std::exchange(events_, {})](Store& store) { return store.LoseAttempt(action, events); },
           [] {});
}

void RunLoop::Evaluation(const StoreEvaluation& action) {
  CloseTasks();
  if (action.total) {
    const EvaluationRecord record{*action.total, action.evaluators, action.best};
    const Totals& totals = record.counts.totals;
    const Metric metric = MainMetric(totals);
    LogInfo("evaluation.done", {{"round", action.round},
                                {"examples", totals.examples()},
                                {MetricName(metric), MetricOf(metric, totals).value_or(0)},
                                {"loss", MetricOf(Metric::kLoss, totals).value_or(0)},
                                {"best", record.best}});
  } else {
    LogInfo("evaluation.skipped", {{"round", action.round}});
  }
  persist_([action](Store& store) { return store.AddEvaluation(action); }, [] {});
}

void RunLoop::Finish(const FinishRun& action) {
  const RunStatus status = action.ok ? RunStatus::kFinished : RunStatus::kFailed;
  persist_([status, reason = action.reason](Store& store) { return store.SetStatus(status, reason); },
           [this, action] {
             LogInfo("run.finished", {{"ok", action.ok}, {"reason", action.reason}});
             finished_ = RunFinished{action.reason, action.ok};
             for (const auto& [session, client] : clients_.sessions()) SendFinished(session, client);
             ended_({action.ok ? RunOutcome::Kind::kFinished : RunOutcome::Kind::kFailed, action.reason});
           });
}

void RunLoop::SendFinished(SessionId session, const std::string& client) {
  outbox_->Send(session, MakeTask({client, machine_.committed_round(), 0, kFinishedStep}, *finished_));
}

void RunLoop::Ask(TaskKey key, decltype(Task::body) body) {
  const SessionId session = clients_.SessionOf(key.client_id);
  if (busy_.insert(session).second) outbox_->SetBusy(session, true);
  outbox_->Send(session, MakeTask(std::move(key), std::move(body)));
}

void RunLoop::CloseTasks() {
  outbox_->WithdrawTasks();
  outbox_->CloseUploadsBefore(machine_.round(), machine_.attempt() + 1);
  for (const SessionId session : std::exchange(busy_, {})) outbox_->SetBusy(session, false);
}

void RunLoop::Publish(std::shared_ptr<const Bytes> blob) {
  const BlobRef old = std::exchange(params_, outbox_->Publish(std::move(blob)));
  if (old.length > 0 && old.sha256 != params_.sha256) outbox_->Retire(old.sha256);
}

void RunLoop::Remember(const char* name, std::string detail) {
  if (events_.size() >= kMaxEvents) return;
  events_.push_back({UnixMillis(), name, machine_.round(), std::move(detail)});
}

}  // namespace fedpeft::server
