#include "client/session.h"

#include <thread>
#include <utility>
#include <vector>

#include "client/backoff.h"
#include "client/wire.h"
#include "client/worker.h"
#include "peft/core/log.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"

namespace fedpeft::client {

struct Session::Impl {
  Impl(Transport& t, Runner& r, UpdateStore& u, SessionOptions o)
      : transport(t),
        runner(r),
        updates(u),
        options(std::move(o)),
        worker(t, r, u, tasks, identity, options.run_id, options.guards) {}

  // Constant, or synchronised by themselves.
  Transport& transport;
  const Runner& runner;
  /// The worker's thread uses it; here, only its name.
  UpdateStore& updates;
  const SessionOptions options;
  TaskQueue tasks;
  Identity identity;

  // Used by the thread that runs the session alone.
  Worker worker;

  // Used by the polling thread alone.
  bool joined = false;
  std::vector<TaskKey> to_acknowledge;

  void Poll();
  Status JoinOnce();
  Status PollOnce();
  void Receive(const v1::Task& task);
};

Session::Session(Transport& transport, Runner& runner, UpdateStore& updates, SessionOptions options)
    : impl_(std::make_unique<Impl>(transport, runner, updates, std::move(options))) {}
Session::~Session() = default;

Status Session::Run(std::stop_token stop) {
  const std::stop_callback on_stop(std::move(stop), [this] {
    impl_->tasks.Finish(Cancelled("stopped"));
    impl_->transport.Stop();
  });
  std::thread poller([this] {
    impl_->Poll();
    impl_->transport.Stop();  // what the worker is still sending is not wanted any more
  });
  while (const std::optional<Work> work = impl_->tasks.Take()) impl_->worker.Do(*work);
  poller.join();
  const Status outcome = impl_->tasks.outcome();
  if (const std::string token = impl_->identity.Token(); !token.empty()) {
    v1::LeaveRequest leave;
    leave.set_session(token);
    leave.set_reason(outcome.ok() ? "run finished" : outcome.message());
    impl_->transport.Leave(leave);
  }
  return outcome;
}

void Session::Impl::Poll() {
  Backoff backoff;
  Patience patience(options.max_wait_s);
  while (!tasks.finished()) {
    const Status status = joined ? PollOnce() : JoinOnce();
    if (status.ok()) {
      backoff.Reset();
      patience.Reset();
      continue;
    }
    if (tasks.finished()) return;
    if (joined && status.code() == Code::kUnauthenticated) {
      LogInfo("session.lost", {{"reason", status.message()}});
      joined = false;
      continue;
    }
    const bool refused = !IsPassing(status.code()) || (joined && status.code() == Code::kAborted);
    if (refused) return tasks.Finish(status);
    if (patience.EndsWithFailureAt(Clock::System().Now())) {
      return tasks.Finish(Unavailable("the coordinator was not reached for " + std::to_string(options.max_wait_s) +
                                      " s: " + status.message()));
    }
    if (backoff.tries() == 0) LogWarning("coordinator.unreachable", {{"reason", status.message()}});
    if (!tasks.WaitUnlessFinished(backoff.Next())) return;
  }
}

Status Session::Impl::JoinOnce() {
  v1::JoinRequest request;
  request.set_protocol_version(kProtocolVersion);
  request.set_run_id(options.run_id);
  request.set_name(options.name);
  request.set_role(options.evaluator ? v1::ROLE_EVALUATOR : v1::ROLE_TRAINER);
  request.set_weights_sha256(Encode(options.weights));
  request.set_tokenizer_sha256(Encode(options.tokenizer));
  request.set_layout_sha256(Encode(runner.layout_digest()));
  for (std::size_t i = 0; i < runner.clients(); ++i) {
    const bool told = options.evaluator || !options.guards.reticent();
    request.add_examples(told ? runner.examples(i) : 0);
    if (!options.evaluator) request.add_held_out(runner.held_out(i));
  }
  request.set_software(options.software);
  ASSIGN_OR_RETURN(const v1::JoinReply reply, transport.Join(request));
  // Under another name this client would not know what it has trained and unmasked under its own.
  const std::string wanted = options.name.empty() ? identity.Id() : options.name;
  if (!wanted.empty() && reply.client_id() != wanted) {
    return FailedPrecondition("coordinator: calls this client " + reply.client_id() + ", want " + wanted);
  }
  if (options.name.empty()) RETURN_IF_ERROR(updates.Name(reply.client_id()).status());
  identity.Set(reply.session(), reply.client_id());
  tasks.Reset();
  to_acknowledge.clear();
  joined = true;
  LogInfo("session.joined", {{"client", reply.client_id()},
                             {"clients", std::uint64_t{runner.clients()}},
                             {"role", options.evaluator ? "evaluator" : "trainer"}});
  return OkStatus();
}

Status Session::Impl::PollOnce() {
  v1::NextTaskRequest request;
  request.set_session(identity.Token());
  for (const TaskKey& key : to_acknowledge) Encode(key, *request.add_received());
  ASSIGN_OR_RETURN(const v1::NextTaskReply reply, transport.NextTask(request));
  to_acknowledge.clear();
  for (const v1::Task& task : reply.tasks()) {
    to_acknowledge.push_back(Decode(task.key()));
    Receive(task);
  }
  return OkStatus();
}

void Session::Impl::Receive(const v1::Task& task) {
  const TaskKey key = Decode(task.key());
  switch (task.task_case()) {
    case v1::Task::kTrain:
    case v1::Task::kEvaluate: {
      const bool train = task.has_train();
      const Result<BlobRef> params = Decode(train ? task.train().params() : task.evaluate().params());
      if (!params.ok()) return LogWarning("task.malformed", {{"reason", params.status().message()}});
      const bool known = key.step == (train ? kTrainStep : kEvaluateStep);
      if (!known || key.round > runner.total_rounds() || (train && key.round == 0)) {
        return LogWarning("task.malformed",
                          {{"reason", "its round or step is not one of the run"}, {"round", key.round}});
      }
      if (!train && options.guards.reticent() && !options.evaluator) {
        return LogWarning("task.refused", {{"client", key.client},
                                           {"round", key.round},
                                           {"reason", "a trainer of this run tells no metrics of its own"}});
      }
      if (train) return tasks.Offer({key, TrainWork{*params}});
      return tasks.Offer({key, EvaluateWork{*params}});
    }
    case v1::Task::kSecure:
      if (options.guards.secure == nullptr || key.step < kFirstSecureStep || key.round == 0 ||
          key.round > runner.total_rounds()) {
        return LogWarning("task.malformed", {{"reason", "it is of a sum that is not the run's"}, {"round", key.round}});
      }
      return tasks.Offer({key, SecureWork{Bytes(task.secure().step().begin(), task.secure().step().end())}});
    case v1::Task::kClosed:
      if (options.guards.secure != nullptr) options.guards.secure->CloseRounds(task.closed().committed_round());
      return tasks.CloseRounds(task.closed().committed_round());
    case v1::Task::kFinished:
      LogInfo("run.finished", {{"reason", task.finished().reason()}});
      return tasks.Finish(task.finished().ok() ? OkStatus()
                                               : Status(Code::kAborted, "the run failed: " + task.finished().reason()));
    case v1::Task::TASK_NOT_SET:
      return LogWarning("task.unknown", {{"round", key.round}});
  }
}

}  // namespace fedpeft::client
