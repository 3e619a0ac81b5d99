#include "server/session.h"

#include <openssl/rand.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "peft/core/log.h"
#include "proto/limits.h"

namespace fedpeft::server {
namespace {

constexpr std::size_t kRememberedTokens = 1024;

Status Stopping() {
  return Unavailable("coordinator: is stopping (join again when it is back)");
}

/// `what: client has A, run wants B (do)`, or OK when they are equal.
Status CheckSame(std::string_view what, const Digest& got, const Digest& want, std::string_view advice) {
  if (got == want) return OkStatus();
  return FailedPrecondition(std::string(what) + ": client has " + Hex(got) + ", run wants " + Hex(want) + " (" +
                            std::string(advice) + ")");
}

std::string NewToken() {
  std::string token(kSessionBytes, '\0');
  // Without randomness there are no sessions worth having.
  FEDPEFT_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(token.data()), static_cast<int>(token.size())) == 1);
  return token;
}

std::vector<ClientSpec> Clients(const std::string& identity, const JoinClaim& claim) {
  std::vector<ClientSpec> clients;
  clients.reserve(claim.examples.size());
  const bool virtual_clients = claim.examples.size() > 1;
  for (std::size_t i = 0; i < claim.examples.size(); ++i) {
    clients.push_back({.id = virtual_clients ? identity + "/" + std::to_string(i) : identity,
                       .evaluator = claim.evaluator,
                       .examples = claim.examples[i],
                       .held_out = claim.held_out.empty() ? 0 : claim.held_out[i]});
  }
  return clients;
}

}  // namespace

Status CheckName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  if (!name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, allowed)) return OkStatus();
  // The name itself is not repeated: it may be anything.
  return InvalidArgument("client name: got " + std::to_string(name.size()) + " bytes, want 1 to " +
                         std::to_string(kMaxNameBytes) + " of letters, digits, '-', '_', '.' (choose it with --name)");
}

Result<std::string> CheckJoin(const RunInfo& run, const JoinClaim& claim,
                              const std::optional<std::string>& certificate) {
  if (claim.protocol_version != kProtocolVersion) {
    return FailedPrecondition("protocol version: client has " + std::to_string(claim.protocol_version) +
                              ", coordinator has " + std::to_string(kProtocolVersion) +
                              " (install the same release of fedpeft on both)");
  }
  if (claim.run_id != run.run_id) {
    return FailedPrecondition("run: client asks for " + claim.run_id + ", this coordinator runs " + run.run_id +
                              " (start the client again to get the new run)");
  }
  RETURN_IF_ERROR(CheckSame("base weights sha256", claim.weights, run.weights,
                            "use the base folder that the run names: " + run.base_name));
  RETURN_IF_ERROR(CheckSame("tokenizer sha256", claim.tokenizer, run.tokenizer,
                            "use the tokenizer.json of the base that the run names: " + run.base_name));
  RETURN_IF_ERROR(
      CheckSame("parameter layout sha256", claim.layout, run.layout, "install the same release of fedpeft on both"));
  const std::string& identity = certificate ? *certificate : claim.name;
  if (!claim.name.empty()) RETURN_IF_ERROR(CheckName(claim.name));
  RETURN_IF_ERROR(CheckName(identity));
  if (certificate && !claim.name.empty() && claim.name != *certificate) {
    return PermissionDenied("client name: got " + claim.name + ", want the certificate's common name " + *certificate +
                            " (leave --name out, or use that client's certificate)");
  }
  for (const auto& [what, counts] : {std::pair("examples", claim.examples), std::pair("held_out", claim.held_out)}) {
    const auto absurd = std::ranges::find_if(counts, [](std::uint64_t examples) { return examples > kMaxExamples; });
    if (absurd == counts.end()) continue;
    return InvalidArgument(std::string(what) + ": got " + std::to_string(*absurd) + ", want at most " +
                           std::to_string(kMaxExamples) + " a client");
  }
  if (claim.evaluator && run.personal) {
    return FailedPrecondition(
        "role: got evaluator, want trainer: parts of this run's model stay with the clients that train them, so only "
        "these can evaluate it (join with training data and --eval-data)");
  }
  const auto some = [](std::uint64_t examples) { return examples > 0; };
  if (run.reticent && !claim.evaluator && std::ranges::any_of(claim.examples, some)) {
    return FailedPrecondition(
        "examples: got numbers of a trainer's, want 0: clients of this run tell nothing of themselves");
  }
  if (!run.trainers_evaluate && std::ranges::any_of(claim.held_out, some)) {
    return FailedPrecondition(
        "held_out: got held-out examples of a trainer, want none: clients of this run tell no metrics of their own "
        "(leave --eval-data out, and let an evaluator join)");
  }
  return identity;
}

Result<SessionRegistry::Joined> SessionRegistry::Join(const std::string& identity, const JoinClaim& claim, Instant now,
                                                      Effects& effects) {
  if (draining_) return Stopping();
  const auto older = by_identity_.find(identity);
  const bool supersedes = older != by_identity_.end();
  const SessionId older_id = supersedes ? older->second : 0;
  const std::uint64_t others = joined_clients_ - (supersedes ? sessions_.at(older_id).clients : 0);
  if (others + claim.examples.size() > run_.max_clients) {
    return ResourceExhausted("clients: " + std::to_string(others) + " are joined and " +
                             std::to_string(claim.examples.size()) + " more want to, the run takes " +
                             std::to_string(run_.max_clients) + " (raise limits.max_clients)");
  }
  const SessionId id = ++last_session_;
  Joined joined{.session = id, .token = NewToken()};
  // The new session is announced before the old one leaves: a round must not close in between.
  effects.events.emplace_back(ClientsJoined{.session = id, .clients = Clients(identity, claim)});
  if (supersedes) {
    Remember(sessions_.at(older_id).token);
    End(older_id, Status(Code::kAborted, "session: a newer one of " + identity + " took over"), effects);
  }
  Session& session = sessions_[id];
  session.identity = identity;
  session.token = joined.token;
  session.clients = claim.examples.size();
  session.silent_since = now;
  by_token_[joined.token] = id;
  by_identity_[identity] = id;
  joined_clients_ += session.clients;
  return joined;
}

void SessionRegistry::Leave(SessionId session, const std::string& reason, Effects& effects) {
  if (!sessions_.contains(session)) return;
  End(session, Cancelled("session: left: " + (reason.empty() ? "no reason given" : reason)), effects);
}

Result<SessionId> SessionRegistry::Find(std::string_view token) const {
  const std::string key(token);
  if (const auto found = by_token_.find(key); found != by_token_.end()) return found->second;
  if (superseded_.contains(key)) {
    return Status(Code::kAborted, "session: a newer one of this client took over (give each client its own --name)");
  }
  return Status(Code::kUnauthenticated, "session: not known here (join again)");
}

const std::string& SessionRegistry::IdentityOf(SessionId session) const {
  return sessions_.at(session).identity;
}

bool SessionRegistry::Owns(SessionId session, std::string_view client_id) const {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return false;
  const Session& owner = found->second;
  if (owner.clients == 1) return client_id == owner.identity;
  if (!client_id.starts_with(owner.identity + "/")) return false;
  const std::string_view digits = client_id.substr(owner.identity.size() + 1);
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  // to_string again, because `01` is not a name that was given out.
  return parsed.ec == std::errc() && number < owner.clients && digits == std::to_string(number);
}

Result<SessionRegistry::PollRef> SessionRegistry::Poll(SessionId id, const std::vector<TaskKey>& received,
                                                       PollAnswer answer, Instant now, Effects& effects) {
  if (draining_) return Stopping();
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return Status(Code::kUnauthenticated, "session: has ended (join again)");
  Session& session = found->second;
  for (const TaskKey& key : received) session.tasks.erase(key);
  AnswerPoll(session, Cancelled("poll: the session opened a newer one"), effects);
  session.poll = OpenPoll{.number = ++last_poll_, .answer = std::move(answer), .started = now};
  const PollRef ref{.session = id, .number = last_poll_};
  AnswerWithDueTasks(session, now, effects);
  if (!session.poll) session.silent_since = now;
  return ref;
}

void SessionRegistry::CancelPoll(PollRef poll, Instant now, Effects& effects) {
  const auto found = sessions_.find(poll.session);
  if (found == sessions_.end() || !found->second.poll || found->second.poll->number != poll.number) return;
  AnswerPoll(found->second, Cancelled("poll: the connection is gone"), effects);
  found->second.silent_since = now;
}

void SessionRegistry::Send(SessionId id, Task task, Instant now, Effects& effects) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  Session& session = found->second;
  if (std::holds_alternative<RoundClosed>(task.body)) {
    // A newer one says all that an older one says; so a client that acknowledges nothing does not fill the queue.
    std::erase_if(session.tasks,
                  [](const auto& entry) { return std::holds_alternative<RoundClosed>(entry.second.task.body); });
  }
  TaskKey key = task.key;
  session.tasks.insert_or_assign(std::move(key), Queued{.task = std::move(task), .sent = std::nullopt});
  AnswerWithDueTasks(session, now, effects);
}

void SessionRegistry::WithdrawTasks() {
  for (auto& [id, session] : sessions_) {
    std::erase_if(session.tasks, [](const auto& entry) {
      const auto& body = entry.second.task.body;
      return !std::holds_alternative<RoundClosed>(body) && !std::holds_alternative<RunFinished>(body);
    });
  }
}

void SessionRegistry::SetBusy(SessionId session, bool busy, Instant now) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || found->second.busy == busy) return;
  found->second.busy = busy;
  // A poll that has been open for minutes is not over at once: the shorter time counts from now.
  if (found->second.poll) found->second.poll->started = now;
}

void SessionRegistry::Tick(Instant now, Effects& effects) {
  std::vector<SessionId> gone;
  for (auto& [id, session] : sessions_) {
    if (session.poll) {
      AnswerWithDueTasks(session, now, effects);
      const Duration hold = Seconds(session.busy ? kBusyPollSeconds : kIdlePollSeconds);
      if (session.poll && now - session.poll->started >= hold) AnswerPoll(session, std::vector<Task>{}, effects);
      if (!session.poll) session.silent_since = now;
    } else if (now - session.silent_since >= Seconds(run_.client_timeout_s)) {
      gone.push_back(id);
    }
  }
  for (SessionId id : gone) {
    End(id, DeadlineExceeded("session: no poll for " + std::to_string(run_.client_timeout_s) + " s"), effects);
  }
}

void SessionRegistry::Drain(Effects& effects) {
  draining_ = true;
  for (auto& [id, session] : sessions_) AnswerPoll(session, Stopping(), effects);
}

bool SessionRegistry::HasTasks() const {
  return std::ranges::any_of(sessions_, [](const auto& entry) { return !entry.second.tasks.empty(); });
}

void SessionRegistry::End(SessionId id, const Status& why, Effects& effects) {
  const auto found = sessions_.find(id);
  Session& session = found->second;
  AnswerPoll(session, why, effects);
  effects.events.emplace_back(ClientsLeft{.session = id, .reason = why.message()});
  LogInfo("session.ended", {{"session", id}, {"client", session.identity}, {"reason", why.message()}});
  joined_clients_ -= session.clients;
  by_token_.erase(session.token);
  by_identity_.erase(session.identity);
  sessions_.erase(found);
}

void SessionRegistry::AnswerWithDueTasks(Session& session, Instant now, Effects& effects) {
  if (!session.poll) return;
  const bool due = std::ranges::any_of(session.tasks, [&](const auto& entry) { return IsDue(entry.second, now); });
  if (!due) return;
  std::vector<Task> tasks;
  std::size_t bytes = 0;
  for (auto& [key, queued] : session.tasks) {
    if (tasks.size() == kMaxTasksAReply) break;
    if (!IsDue(queued, now)) continue;
    const auto* secure = std::get_if<SecureTask>(&queued.task.body);
    const std::size_t more = secure != nullptr ? secure->step.size() : 0;
    if (bytes > 0 && bytes + more > kMaxStepBytesAReply) break;
    bytes += more;
    queued.sent = now;
    tasks.push_back(queued.task);
  }
  AnswerPoll(session, std::move(tasks), effects);
  session.silent_since = now;
}

void SessionRegistry::AnswerPoll(Session& session, Result<std::vector<Task>> outcome, Effects& effects) {
  if (!session.poll) return;
  effects.polls.push_back({.answer = std::move(session.poll->answer), .outcome = std::move(outcome)});
  session.poll.reset();
}

void SessionRegistry::Remember(const std::string& token) {
  superseded_.insert(token);
  superseded_order_.push_back(token);
  if (superseded_order_.size() <= kRememberedTokens) return;
  superseded_.erase(superseded_order_.front());
  superseded_order_.pop_front();
}

bool SessionRegistry::IsDue(const Queued& queued, Instant now) {
  return !queued.sent || now - *queued.sent >= Seconds(kResendSeconds);
}

}  // namespace fedpeft::server
