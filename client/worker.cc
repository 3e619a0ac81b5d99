#include "client/worker.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <variant>

#include "client/backoff.h"
#include "client/wire.h"
#include "peft/core/log.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"

namespace fedpeft::client {

namespace {

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

}  // namespace

void Worker::Do(const Work& work) {
  const Status status = std::visit([&](const auto& what) { return Perform(work.key, what); }, work.what);
  if (status.ok() || !tasks_.Wanted(work.key)) return;
  LogWarning("task.failed", {{"client", work.key.client}, {"round", work.key.round}, {"reason", status.ToString()}});
  v1::SubmitRequest request;
  request.set_session(identity_.Token());
  request.set_run_id(run_id_);
  Encode(work.key, *request.mutable_key());
  request.mutable_failed()->set_code(static_cast<std::uint32_t>(status.code()));
  request.mutable_failed()->set_message(status.message().substr(0, kMaxTextBytes));
  // The round goes on without this client either way; a failure to say so is found out by its deadline.
  const Status told = transport_.Submit(request);
  if (!told.ok()) LogDebug("task.failure_not_told", {{"reason", told.message()}});
}

Result<std::size_t> Worker::IndexOf(const TaskKey& key) const {
  const std::string id = identity_.Id();
  if (key.client == id && runner_.clients() == 1) return std::size_t{0};
  std::size_t index = 0;
  if (key.client.starts_with(id + "/")) {
    const char* end = key.client.data() + key.client.size();
    const auto parsed = std::from_chars(key.client.data() + id.size() + 1, end, index);
    if (parsed.ec == std::errc() && parsed.ptr == end && index < runner_.clients()) return index;
  }
  return InvalidArgument("task: is for \"" + key.client + "\", which is not one of this process's clients");
}

Status Worker::Persist(const TaskKey& key, const std::function<Status(Duration& least_wait)>& attempt) {
  Backoff backoff;
  while (true) {
    Duration least_wait{};
    const Status status = attempt(least_wait);
    if (status.ok() || !IsPassing(status.code())) return status;
    if (!tasks_.WaitWhileWanted(key, std::max(least_wait, backoff.Next()))) return status;
  }
}

Status Worker::FetchParams(const TaskKey& key, const BlobRef& ref) {
  const std::uint64_t most = runner_.max_broadcast_bytes();
  if (ref.length > most) {
    return InvalidArgument("task: its parameters have " + std::to_string(ref.length) + " bytes, want at most " +
                           std::to_string(most));
  }
  if (!params_.empty() && params_ref_.sha256 == ref.sha256) return OkStatus();
  return Persist(key, [&](Duration&) -> Status {
    ASSIGN_OR_RETURN(params_, transport_.Fetch(identity_.Token(), ref.sha256, ref.length));
    params_ref_ = ref;
    return OkStatus();
  });
}

Result<Bytes> Worker::PersonalOf(const TaskKey& key) const {
  if (!runner_.keeps_personal()) return Bytes();
  const Result<Bytes> personal = updates_.Personal(run_id_, key.client);
  if (personal.ok()) return personal;
  return personal.status().Annotate("own tensors: cannot be read (remove the file to begin them anew)");
}

Result<KeptUpdate> Worker::TrainOrFind(const TaskKey& key, const TrainWork& work, std::size_t index) {
  std::optional<KeptUpdate> found = updates_.Find(run_id_, key.client, key.round, work.params.sha256);
  if (found) return std::move(*found);
  if (guards_.own != nullptr) RETURN_IF_ERROR(guards_.own->Admit(key.client, runner_.examples(index)));
  RETURN_IF_ERROR(FetchParams(key, work.params));
  ASSIGN_OR_RETURN(const Bytes personal, PersonalOf(key));
  ASSIGN_OR_RETURN(Runner::Update update, runner_.Train(index, key.client, key.round, {params_, personal},
                                                        tasks_.cancelled(), ProgressLog(key)));
  LogInfo("task.trained", {{"client", key.client},
                           {"round", key.round},
                           {"loss", update.stats.loss},
                           {"examples", update.stats.examples},
                           {"steps", update.stats.steps},
                           {"seconds", update.stats.seconds}});
  if (guards_.own != nullptr)
    RETURN_IF_ERROR(guards_.own->Hide(key.client, runner_.examples(index), key.round, update.payload));
  KeptUpdate kept{key.round,    work.params.sha256,        update.layout,
                  update.stats, std::move(update.payload), std::move(update.personal)};
  const Status stored = updates_.Keep(run_id_, key.client, kept);
  // A client that went on without what it has trained for itself would fall back without a word.
  if (!stored.ok() && !kept.personal.empty()) return stored.Annotate("own tensors: cannot be kept");
  // And a sum is of updates that are kept.
  if (!stored.ok() && guards_.secure != nullptr) return stored.Annotate("update: cannot be kept");
  if (!stored.ok()) LogWarning("update.not_kept", {{"reason", stored.message()}});
  return kept;
}

Status Worker::CheckSeparation(const TaskKey& key) const {
  if (guards_.min_separation == 0) return OkStatus();
  ASSIGN_OR_RETURN(const std::uint32_t last, updates_.LastSent(run_id_, key.client));
  const std::uint64_t next = std::uint64_t{last} + guards_.min_separation;
  if (last == 0 || key.round == last || key.round >= next) return OkStatus();
  return FailedPrecondition("round " + std::to_string(key.round) + ": this client sent an update in round " +
                            std::to_string(last) + ", and privacy.min_separation lets it send the next in round " +
                            std::to_string(next));
}

Status Worker::Perform(const TaskKey& key, const TrainWork& work) {
  ASSIGN_OR_RETURN(const std::size_t index, IndexOf(key));
  RETURN_IF_ERROR(CheckSeparation(key));
  ASSIGN_OR_RETURN(const KeptUpdate update, TrainOrFind(key, work, index));
  // Before it leaves: what the coordinator makes of it does not show here.
  if (guards_.min_separation > 0) RETURN_IF_ERROR(updates_.MarkSent(run_id_, key.client, key.round));
  if (guards_.secure == nullptr) return Upload(key, update);
  v1::SubmitRequest request;
  request.mutable_trained();
  const Status told = Submit(key, request);
  if (told.code() != Code::kFailedPrecondition) return told;
  LogInfo("update.too_late", {{"client", key.client}, {"round", key.round}, {"reason", told.message()}});
  return OkStatus();  // it is kept for the next attempt
}

Status Worker::Perform(const TaskKey& key, const SecureWork& work) {
  ASSIGN_OR_RETURN(const std::size_t index, IndexOf(key));
  LogDebug("sum.step", {{"client", key.client}, {"round", key.round}, {"attempt", key.attempt}, {"step", key.step}});
  ASSIGN_OR_RETURN(SecureClients::Reply reply, guards_.secure->Handle(key, work.step, runner_.examples(index)));
  if (!reply.masked) {
    v1::SubmitRequest request;
    request.set_secure(reply.bytes.data(), reply.bytes.size());
    return Submit(key, request);
  }
  v1::UploadManifest manifest;
  manifest.set_payload_sha256(Encode(reply.layout));
  manifest.set_base_sha256(Encode(reply.base));
  return Upload(key, manifest, reply.bytes);
}

Status Worker::Upload(const TaskKey& key, const KeptUpdate& update) {
  v1::UploadManifest manifest;
  manifest.set_payload_sha256(Encode(update.layout));
  manifest.set_base_sha256(Encode(update.base));
  if (guards_.reticent()) return Upload(key, manifest, update.payload);
  v1::TrainStats& stats = *manifest.mutable_stats();
  stats.set_examples(static_cast<std::uint64_t>(update.stats.examples));
  stats.set_steps(static_cast<std::uint64_t>(update.stats.steps));
  stats.set_tokens(static_cast<std::uint64_t>(update.stats.tokens));
  stats.set_loss(update.stats.loss);
  stats.set_seconds(update.stats.seconds);
  return Upload(key, manifest, update.payload);
}

Status Worker::Upload(const TaskKey& key, v1::UploadManifest& manifest, ByteSpan content) {
  manifest.set_run_id(run_id_);
  Encode(key, *manifest.mutable_key());
  manifest.set_length(content.size());
  manifest.set_sha256(Encode(Sha256Of(content)));
  return Persist(key, [&](Duration& least_wait) -> Status {
    ASSIGN_OR_RETURN(const std::optional<Duration> asked, transport_.Upload(identity_.Token(), manifest, content));
    if (!asked) return OkStatus();
    least_wait = *asked;
    return ResourceExhausted("upload: the coordinator has no room now");
  });
}

Status Worker::Submit(const TaskKey& key, v1::SubmitRequest& request) {
  request.set_run_id(run_id_);
  Encode(key, *request.mutable_key());
  return Persist(key, [&](Duration&) {
    request.set_session(identity_.Token());
    return transport_.Submit(request);
  });
}

Status Worker::Perform(const TaskKey& key, const EvaluateWork& work) {
  ASSIGN_OR_RETURN(const std::size_t index, IndexOf(key));
  RETURN_IF_ERROR(FetchParams(key, work.params));
  ASSIGN_OR_RETURN(const Bytes personal, PersonalOf(key));
  ASSIGN_OR_RETURN(const EvaluateStats stats,
                   runner_.Evaluate(index, key.round, {params_, personal}, tasks_.cancelled()));
  v1::SubmitRequest request;
  v1::EvaluateStats& counts = *request.mutable_evaluated();
  for (const auto& [name, value] : stats.totals.sums()) {
    v1::Sum& sum = *counts.add_sums();
    sum.set_name(name);
    sum.set_value(value);
  }
  counts.set_seconds(stats.seconds);
  return Submit(key, request);
}

}  // namespace fedpeft::client
