// What the loop does with a round's session of secure aggregation: its steps become tasks, its outcome the machine's.
#include <utility>

#include "peft/core/log.h"
#include "server/run_loop.h"

namespace fedpeft::server {

bool RunLoop::IsOfSum(const TaskKey& key) const {
  return secure_ && key.round == machine_.round() && key.attempt == machine_.attempt();
}

Verdict RunLoop::CheckMasked(const TaskKey& key) const {
  if (key.step == kSecureUploadStep && IsOfSum(key)) {
    if (secure_->WantsUpload(key.client_id)) return {Verdict::Kind::kWanted, {}};
    if (secure_->HasUpload(key.client_id)) return {Verdict::Kind::kAlreadyHere, {}};
  }
  return {Verdict::Kind::kRefused, "round " + std::to_string(key.round) + " attempt " + std::to_string(key.attempt) +
                                       ": no masked update is wanted from " + key.client_id + " now"};
}

void RunLoop::Sum(const OpenSum& action) {
  outbox_->WithdrawTasks();  // who has not trained by now is not waited for
  const PayloadLayout payload = model_.Payload(action.round);
  SecureRound::Setup setup;
  setup.sum = {setup_.run_id, action.round, action.attempt, params_.sha256, payload_, payload.size};
  setup.range = range_;
  setup.clients = action.clients;
  setup.check = setup_.check_certificate;
  Result<SecureRound> round = SecureRound::Open(run_, std::move(setup));
  if (!round.ok()) return Fail(round.status());
  secure_.emplace(*std::move(round));
  unmasking_ = false;
  LogInfo("sum.opened", {{"round", action.round},
                         {"attempt", action.attempt},
                         {"clients", std::uint64_t{action.clients.size()}},
                         {"threat", threat_},
                         {"range", secure_->range()},
                         {"upload_bytes", secure_->upload_bytes()}});
  FeedSum(privacy::SecureTick{});
}

struct RunLoop::SecureHandler {
  RunLoop& loop;
  void operator()(const privacy::SecureAsk& ask) const {
    if (!loop.clients_.IsJoined(ask.client)) return;  // it has left, and the session is about to be told
    const RunMachine& machine = loop.machine_;
    loop.Ask({ask.client, machine.round(), machine.attempt(), loop.secure_->step()}, SecureTask{ask.step});
  }
  void operator()(const privacy::SecureDrop& drop) const {
    LogWarning("sum.client_lost", {{"client", drop.client}, {"reason", drop.reason}});
    loop.Remember("sum.client_lost", drop.client + ": " + drop.reason);
  }
  void operator()(const privacy::SecureBlame& blame) const {
    LogWarning("sum.client_blamed", {{"client", blame.client}, {"reason", blame.reason}});
    loop.Remember("sum.client_blamed", blame.client + ": " + blame.reason);
  }
  void operator()(const privacy::SecureExpel& expel) const {
    LogWarning("sum.client_expelled", {{"client", expel.client}, {"reason", expel.reason}});
    loop.Remember("sum.client_expelled", expel.client + ": " + expel.reason);
    loop.Feed(ClientExpelled{expel.client});
  }
  void operator()(const privacy::SecureFinished& finished) const { loop.SumFinished(finished); }
  void operator()(const privacy::SecureAborted& aborted) const { loop.SumFailed(aborted.reason); }
};

void RunLoop::FeedSum(const privacy::SecureEvent& event) {
  if (!secure_) return;
  const std::vector<privacy::SecureAction> actions = secure_->Handle(clock_.Now(), event);
  const bool ask_unmask = secure_->unmasking() && !unmasking_;
  std::vector<privacy::SecureAsk> later;
  for (const privacy::SecureAction& action : actions) {
    if (const auto* ask = std::get_if<privacy::SecureAsk>(&action); ask != nullptr && ask_unmask) {
      later.push_back(*ask);
    } else {
      std::visit(SecureHandler{*this}, action);
    }
  }
  if (ask_unmask) AskUnmask(std::move(later));
}

void RunLoop::AskUnmask(std::vector<privacy::SecureAsk> asks) {
  // Durable before anything leaves: a client that has answered sums no other update of the round.
  unmasking_ = true;
  const std::uint32_t round = machine_.round(), attempt = machine_.attempt();
  const std::optional<privacy::Release> release = ReleaseOf(round);
  persist_([=](Store& store) { return store.MarkUnmasking(round, attempt, release); },
           [this, round, attempt, asks = std::move(asks)] {
             if (!secure_ || round != machine_.round() || attempt != machine_.attempt()) return;
             for (const privacy::SecureAsk& ask : asks) SecureHandler{*this}(ask);
           });
}

void RunLoop::SumFinished(const privacy::SecureFinished& finished) {
  Result<SecureOutcome> outcome = secure_->Unmask(finished);
  if (!outcome.ok()) return SumFailed(outcome.status().message());
  for (const std::string& client : outcome->clients) {
    submissions_.push_back({client, std::nullopt, secure_->upload_bytes()});
  }
  secure_.reset();
  outcome_ = *std::move(outcome);
  LogInfo("sum.finished", {{"round", machine_.round()},
                           {"clients", std::uint64_t{outcome_->clients.size()}},
                           {"saturated", outcome_->saturated},
                           {"next_range", outcome_->next_range}});
  Feed(SumClosed{});
}

void RunLoop::SumFailed(const std::string& reason) {
  secure_.reset();
  Feed(SumAborted{reason, unmasking_});
}

void RunLoop::LeaveSum(std::vector<std::string> clients) {
  FeedSum(privacy::SecureDeparted{std::move(clients)});
}

}  // namespace fedpeft::server
