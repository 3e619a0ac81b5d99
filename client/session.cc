#include "client/session.h"

#include <algorithm>
#include <charconv>
#include <mutex>
#include <thread>

#include "client/backoff.h"
#include "peft/core/log.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"

namespace fedpeft::client {

namespace {

constexpr Duration kFirstRetry = std::chrono::milliseconds(100);
constexpr Duration kLastRetry = std::chrono::seconds(5);

std::string AsString(const Digest& digest) { return std::string(digest.begin(), digest.end()); }

TaskKey FromProto(const v1::TaskKey& key) { return {key.client_id(), key.round(), key.attempt(), key.step()}; }

void ToProto(const TaskKey& key, v1::TaskKey& out) {
  out.set_client_id(key.client);
  out.set_round(key.round);
  out.set_attempt(key.attempt);
  out.set_step(key.step);
}

Result<BlobRef> FromProto(const v1::BlobRef& blob) {
  BlobRef ref;
  if (blob.sha256().size() != ref.sha256.size()) return InvalidArgument("task: its parameters have no SHA-256");
  std::copy(blob.sha256().begin(), blob.sha256().end(), ref.sha256.begin());
  ref.length = blob.length();
  return ref;
}

std::uint64_t NameSeed(const std::string& name) { return LoadLe<std::uint64_t>(Sha256Of(AsBytes(name))); }

/// Logs how far a long training is, every few seconds.
class ProgressLog {
 public:
  explicit ProgressLog(const TaskKey& key) : key_(key) {}
  void operator()(const TrainProgress& progress) {
    const Instant now = Clock::System().Now();
    if (now - last_ < std::chrono::seconds(5)) return;
    last_ = now;
    LogInfo("task.progress", {{"client", key_.client},
                              {"round", key_.round},
                              {"step", progress.step},
                              {"steps", progress.steps},
                              {"loss", progress.loss}});
  }

 private:
  const TaskKey& key_;
  Instant last_ = Clock::System().Now();
};

/// Failures that a later try may not meet: the network's, a restarting coordinator's, a transfer that broke.
bool IsPassing(Code code) {
  return code == Code::kUnavailable || code == Code::kDeadlineExceeded || code == Code::kUnauthenticated ||
         code == Code::kResourceExhausted || code == Code::kDataLoss || code == Code::kUnknown ||
         code == Code::kInternal || code == Code::kAborted;
}

}  // namespace

struct Session::Impl {
  Impl(Transport& t, Runner& r, UpdateStore& u, SessionOptions o)
      : transport(t), runner(r), updates(u), options(std::move(o)) {}

  // Constant, or synchronised by themselves.
  Transport& transport;
  Runner& runner;
  UpdateStore& updates;
  const SessionOptions options;
  TaskQueue tasks;

  // Used by the polling thread alone.
  bool joined = false;
  std::vector<TaskKey> to_acknowledge;

  // Used by the working thread alone: the parameters fetched last.
  BlobRef cached_ref;
  Bytes cached;

  std::mutex mutex;
  std::string token;  // guarded by mutex
  std::string id;     // guarded by mutex

  std::string Token() {
    const std::lock_guard lock(mutex);
    return token;
  }

  // ---- polling thread ----
  void Poll();
  Status JoinOnce();
  Status PollOnce();
  void Receive(const v1::Task& task);

  // ---- working thread ----
  void Do(const Work& work);
  Status Train(const TaskKey& key, const TrainWork& work);
  Status Evaluate(const TaskKey& key, const EvaluateWork& work);
  Result<std::size_t> IndexOf(const TaskKey& key);
  Status FetchParams(const TaskKey& key, const BlobRef& ref);
  Result<KeptUpdate> TrainOrFind(const TaskKey& key, const TrainWork& work, std::size_t index);
  Status Upload(const TaskKey& key, const KeptUpdate& update);
  Status Persist(const TaskKey& key, const std::function<Status()>& attempt);
};

Session::Session(Transport& transport, Runner& runner, UpdateStore& updates, SessionOptions options)
    : impl_(std::make_unique<Impl>(transport, runner, updates, std::move(options))) {}
Session::~Session() = default;

Status Session::Run() {
  std::thread poller([this] { impl_->Poll(); });
  while (const std::optional<Work> work = impl_->tasks.Take()) impl_->Do(*work);
  impl_->transport.Stop();
  poller.join();
  const Status outcome = impl_->tasks.outcome();
  if (const std::string token = impl_->Token(); !token.empty()) {
    v1::LeaveRequest leave;
    leave.set_session(token);
    leave.set_reason(outcome.ok() ? "run finished" : outcome.message());
    impl_->transport.Leave(leave);
  }
  return outcome;
}

void Session::Stop() {
  impl_->tasks.Finish(Cancelled("stopped"));
  impl_->transport.Stop();
}

// ---- polling thread ------------------------------------------------------------------------------------------------

void Session::Impl::Poll() {
  Backoff backoff(kFirstRetry, kLastRetry, NameSeed(options.name));
  Instant last_success = Clock::System().Now();
  while (!tasks.finished()) {
    const Status status = joined ? PollOnce() : JoinOnce();
    const Instant now = Clock::System().Now();
    if (status.ok()) {
      backoff.Reset();
      last_success = now;
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
    if (options.max_wait_s > 0 && ToSeconds(now - last_success) > options.max_wait_s) {
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
  request.set_weights_sha256(AsString(options.weights));
  request.set_tokenizer_sha256(AsString(options.tokenizer));
  request.set_layout_sha256(AsString(runner.layout_digest()));
  for (std::size_t i = 0; i < runner.clients(); ++i) request.add_examples(runner.examples(i));
  request.set_software("fedpeft-client");
  ASSIGN_OR_RETURN(const v1::JoinReply reply, transport.Join(request));
  {
    const std::lock_guard lock(mutex);
    token = reply.session();
    id = reply.client_id();
  }
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
  request.set_session(Token());
  for (const TaskKey& key : to_acknowledge) ToProto(key, *request.add_received());
  ASSIGN_OR_RETURN(const v1::NextTaskReply reply, transport.NextTask(request));
  to_acknowledge.clear();
  for (const v1::Task& task : reply.tasks()) {
    to_acknowledge.push_back(FromProto(task.key()));
    Receive(task);
  }
  return OkStatus();
}

void Session::Impl::Receive(const v1::Task& task) {
  const TaskKey key = FromProto(task.key());
  switch (task.task_case()) {
    case v1::Task::kTrain:
    case v1::Task::kEvaluate: {
      const bool train = task.has_train();
      const Result<BlobRef> params = FromProto(train ? task.train().params() : task.evaluate().params());
      if (!params.ok()) return LogWarning("task.malformed", {{"reason", params.status().message()}});
      if (key.round > runner.run().total_rounds() || (train && key.round == 0)) {
        return LogWarning("task.malformed", {{"reason", "its round is not one of the run"}, {"round", key.round}});
      }
      if (train) return tasks.Offer({key, TrainWork{*params, task.train().learning_rate()}});
      return tasks.Offer({key, EvaluateWork{*params}});
    }
    case v1::Task::kClosed:
      return tasks.CloseRounds(task.closed().committed_round());
    case v1::Task::kFinished:
      LogInfo("run.finished", {{"reason", task.finished().reason()}});
      return tasks.Finish(task.finished().ok() ? OkStatus() : Status(Code::kAborted, "the run failed: " + task.finished().reason()));
    case v1::Task::TASK_NOT_SET:
      return LogWarning("task.unknown", {{"round", key.round}});
  }
}

// ---- working thread ------------------------------------------------------------------------------------------------

void Session::Impl::Do(const Work& work) {
  const bool train = std::holds_alternative<TrainWork>(work.what);
  const Status status = train ? Train(work.key, std::get<TrainWork>(work.what))
                              : Evaluate(work.key, std::get<EvaluateWork>(work.what));
  if (status.ok() || !tasks.Wanted(work.key)) return;
  LogWarning("task.failed", {{"client", work.key.client}, {"round", work.key.round}, {"reason", status.ToString()}});
  v1::SubmitRequest request;
  request.set_session(Token());
  request.set_run_id(options.run_id);
  ToProto(work.key, *request.mutable_key());
  request.mutable_failed()->set_code(static_cast<std::uint32_t>(status.code()));
  request.mutable_failed()->set_message(status.message().substr(0, kMaxTextBytes));
  // The round goes on without this client either way; a failure to say so is found out by its deadline.
  const Status told = transport.Submit(request);
  if (!told.ok()) LogDebug("task.failure_not_told", {{"reason", told.message()}});
}

Result<std::size_t> Session::Impl::IndexOf(const TaskKey& key) {
  const std::lock_guard lock(mutex);
  if (key.client == id && runner.clients() == 1) return std::size_t{0};
  std::size_t index = 0;
  if (key.client.starts_with(id + "/")) {
    const char* end = key.client.data() + key.client.size();
    const auto parsed = std::from_chars(key.client.data() + id.size() + 1, end, index);
    if (parsed.ec == std::errc() && parsed.ptr == end && index < runner.clients()) return index;
  }
  return InvalidArgument("task: is for \"" + key.client + "\", which is not one of this process's clients");
}

/// Repeats `attempt` while its failure is a passing one and the task is still wanted.
Status Session::Impl::Persist(const TaskKey& key, const std::function<Status()>& attempt) {
  Backoff backoff(kFirstRetry, kLastRetry, NameSeed(key.client));
  while (true) {
    const Status status = attempt();
    if (status.ok() || !IsPassing(status.code())) return status;
    if (!tasks.WaitWhileWanted(key, backoff.Next())) return status;
  }
}

Status Session::Impl::FetchParams(const TaskKey& key, const BlobRef& ref) {
  const std::uint64_t want = runner.payload_bytes();
  if (ref.length != want) {
    return InvalidArgument("task: its parameters have " + std::to_string(ref.length) + " bytes, want " +
                           std::to_string(want));
  }
  if (!cached.empty() && cached_ref.sha256 == ref.sha256) return OkStatus();
  return Persist(key, [&]() -> Status {
    ASSIGN_OR_RETURN(cached, transport.Fetch(Token(), ref.sha256, ref.length));
    cached_ref = ref;
    return OkStatus();
  });
}

Result<KeptUpdate> Session::Impl::TrainOrFind(const TaskKey& key, const TrainWork& work, std::size_t index) {
  if (auto kept = updates.Find(options.run_id, key.client, key.round, work.params.sha256)) return std::move(*kept);
  RETURN_IF_ERROR(FetchParams(key, work.params));
  ASSIGN_OR_RETURN(Runner::Update update, runner.Train(index, key.client, key.round, work.learning_rate, cached,
                                                       tasks.cancelled(), ProgressLog(key)));
  LogInfo("task.trained", {{"client", key.client},
                           {"round", key.round},
                           {"loss", update.stats.loss},
                           {"examples", update.stats.examples},
                           {"steps", update.stats.steps},
                           {"seconds", update.stats.seconds}});
  KeptUpdate kept{key.round, work.params.sha256, update.stats, std::move(update.payload)};
  const Status stored = updates.Keep(options.run_id, key.client, kept);
  if (!stored.ok()) LogWarning("update.not_kept", {{"reason", stored.message()}});
  return kept;
}

Status Session::Impl::Train(const TaskKey& key, const TrainWork& work) {
  ASSIGN_OR_RETURN(const std::size_t index, IndexOf(key));
  ASSIGN_OR_RETURN(const KeptUpdate update, TrainOrFind(key, work, index));
  return Upload(key, update);
}

Status Session::Impl::Upload(const TaskKey& key, const KeptUpdate& update) {
  v1::UploadManifest manifest;
  manifest.set_run_id(options.run_id);
  ToProto(key, *manifest.mutable_key());
  manifest.set_length(update.payload.size());
  manifest.set_sha256(AsString(Sha256Of(update.payload)));
  manifest.set_payload_sha256(AsString(runner.PayloadAt(key.round).digest));
  manifest.set_base_sha256(AsString(update.base));
  v1::TrainStats& stats = *manifest.mutable_stats();
  stats.set_examples(static_cast<std::uint64_t>(update.stats.examples));
  stats.set_steps(static_cast<std::uint64_t>(update.stats.steps));
  stats.set_tokens(static_cast<std::uint64_t>(update.stats.tokens));
  stats.set_loss(update.stats.loss);
  stats.set_seconds(update.stats.seconds);
  return Persist(key, [&] { return transport.Upload(Token(), manifest, update.payload); });
}

Status Session::Impl::Evaluate(const TaskKey& key, const EvaluateWork& work) {
  ASSIGN_OR_RETURN(const std::size_t index, IndexOf(key));
  RETURN_IF_ERROR(FetchParams(key, work.params));
  ASSIGN_OR_RETURN(const EvaluateStats stats, runner.Evaluate(index, cached, tasks.cancelled()));
  v1::SubmitRequest request;
  request.set_run_id(options.run_id);
  ToProto(key, *request.mutable_key());
  v1::EvaluateStats& counts = *request.mutable_evaluated();
  counts.set_examples(static_cast<std::uint64_t>(stats.examples));
  counts.set_correct(static_cast<std::uint64_t>(stats.correct));
  counts.set_loss_sum(stats.loss_sum);
  counts.set_seconds(stats.seconds);
  return Persist(key, [&] {
    request.set_session(Token());
    return transport.Submit(request);
  });
}

}  // namespace fedpeft::client
