#include "server/wire.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "proto/limits.h"
#include "proto/protocol.pb.h"

namespace fedpeft::server {
namespace {

/// A client id is a name and, perhaps, '/' and a number.
constexpr std::size_t kMaxClientIdBytes = kMaxNameBytes + 12;

Status CheckText(const std::string& text, std::size_t limit, std::string_view what) {
  if (text.size() <= limit) return OkStatus();
  return InvalidArgument(std::string(what) + ": got " + std::to_string(text.size()) + " bytes, want at most " +
                         std::to_string(limit));
}

Status CheckFinite(double value, std::string_view what) {
  if (std::isfinite(value)) return OkStatus();
  return InvalidArgument(std::string(what) + ": got " + std::to_string(value) + ", want a finite number");
}

Result<TrainStats> DecodeStats(const v1::TrainStats& stats) {
  RETURN_IF_ERROR(CheckFinite(stats.loss(), "stats.loss"));
  RETURN_IF_ERROR(CheckFinite(stats.seconds(), "stats.seconds"));
  return TrainStats{.examples = stats.examples(),
                    .steps = stats.steps(),
                    .tokens = stats.tokens(),
                    .loss = stats.loss(),
                    .seconds = stats.seconds()};
}

/// A peer's text on one line of a log, whatever is in it.
std::string Printable(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return (c >= 0 && c < ' ') || c == '\x7f'; }, ' ');
  return text;
}

void EncodeKey(const TaskKey& key, v1::TaskKey& out) {
  out.set_client_id(key.client_id);
  out.set_round(key.round);
  out.set_attempt(key.attempt);
  out.set_step(key.step);
}

void EncodeBlob(const BlobRef& blob, v1::BlobRef& out) {
  out.set_sha256(blob.sha256.data(), blob.sha256.size());
  out.set_length(blob.length);
}

/// Writes a task's body; one overload a kind.
struct BodyEncoder {
  v1::Task& out;
  void operator()(const TrainTask& task) const { EncodeBlob(task.params, *out.mutable_train()->mutable_params()); }
  void operator()(const EvaluateTask& task) const {
    EncodeBlob(task.params, *out.mutable_evaluate()->mutable_params());
  }
  void operator()(const SecureTask& task) const {
    std::string& step = *out.mutable_secure()->mutable_step();
    for (const auto& piece : {task.step.common, task.step.own}) {
      if (piece) step.append(AsText(*piece));
    }
  }
  void operator()(const RoundClosed& task) const { out.mutable_closed()->set_committed_round(task.committed_round); }
  void operator()(const RunFinished& task) const {
    out.mutable_finished()->set_reason(task.reason);
    out.mutable_finished()->set_ok(task.ok);
  }
};

}  // namespace

Result<Digest> DecodeDigest(const std::string& bytes, std::string_view what) {
  Digest digest{};
  if (bytes.size() != digest.size()) {
    return InvalidArgument(std::string(what) + ": got " + std::to_string(bytes.size()) + " bytes, want " +
                           std::to_string(digest.size()));
  }
  std::ranges::copy(bytes, digest.begin());
  return digest;
}

Result<JoinClaim> Decode(const v1::JoinRequest& request, const RunInfo& run) {
  RETURN_IF_ERROR(CheckText(request.run_id(), kMaxTextBytes, "run_id"));
  RETURN_IF_ERROR(CheckText(request.software(), kMaxTextBytes, "software"));
  JoinClaim claim;
  claim.protocol_version = request.protocol_version();
  claim.run_id = Printable(request.run_id());
  claim.name = request.name();
  claim.software = Printable(request.software());
  if (request.role() != v1::ROLE_TRAINER && request.role() != v1::ROLE_EVALUATOR) {
    return InvalidArgument("role: got " + std::to_string(request.role()) + ", want trainer or evaluator");
  }
  claim.evaluator = request.role() == v1::ROLE_EVALUATOR;
  ASSIGN_OR_RETURN(claim.weights, DecodeDigest(request.weights_sha256(), "weights_sha256"));
  ASSIGN_OR_RETURN(claim.tokenizer, DecodeDigest(request.tokenizer_sha256(), "tokenizer_sha256"));
  ASSIGN_OR_RETURN(claim.layout, DecodeDigest(request.layout_sha256(), "layout_sha256"));
  const auto clients = static_cast<std::size_t>(request.examples_size());
  if (clients < 1 || clients > run.max_virtual_clients) {
    return InvalidArgument("virtual clients: got " + std::to_string(clients) + ", want 1 to " +
                           std::to_string(run.max_virtual_clients) + " (limits.max_virtual_clients of the run)");
  }
  claim.examples.assign(request.examples().begin(), request.examples().end());
  claim.held_out.assign(request.held_out().begin(), request.held_out().end());
  if (!claim.held_out.empty() && (claim.evaluator || claim.held_out.size() != clients)) {
    return InvalidArgument("held_out: got " + std::to_string(claim.held_out.size()) +
                           " entries, want none of an evaluator, and of a trainer none or " + std::to_string(clients));
  }
  return claim;
}

Result<TaskKey> Decode(const v1::TaskKey& key) {
  RETURN_IF_ERROR(CheckText(key.client_id(), kMaxClientIdBytes, "key.client_id"));
  return TaskKey{.client_id = key.client_id(), .round = key.round(), .attempt = key.attempt(), .step = key.step()};
}

Result<std::vector<TaskKey>> DecodeReceived(const v1::NextTaskRequest& request) {
  const auto count = static_cast<std::size_t>(request.received_size());
  if (count > SessionRegistry::kMaxTasksAReply) {
    return InvalidArgument("received: got " + std::to_string(count) + " keys, want at most " +
                           std::to_string(SessionRegistry::kMaxTasksAReply) + ", the tasks of one reply");
  }
  std::vector<TaskKey> received;
  received.reserve(count);
  for (const v1::TaskKey& key : request.received()) {
    ASSIGN_OR_RETURN(TaskKey decoded, Decode(key));
    received.push_back(std::move(decoded));
  }
  return received;
}

Result<UploadManifest> Decode(const v1::UploadManifest& manifest, const RunInfo& run) {
  if (manifest.run_id() != run.run_id) {
    RETURN_IF_ERROR(CheckText(manifest.run_id(), kMaxTextBytes, "manifest.run_id"));
    return InvalidArgument("manifest.run_id: got " + Printable(manifest.run_id()) + ", want " + run.run_id);
  }
  UploadManifest decoded;
  ASSIGN_OR_RETURN(decoded.key, Decode(manifest.key()));
  decoded.length = manifest.length();
  ASSIGN_OR_RETURN(decoded.sha256, DecodeDigest(manifest.sha256(), "manifest.sha256"));
  ASSIGN_OR_RETURN(decoded.payload, DecodeDigest(manifest.payload_sha256(), "manifest.payload_sha256"));
  ASSIGN_OR_RETURN(decoded.base, DecodeDigest(manifest.base_sha256(), "manifest.base_sha256"));
  ASSIGN_OR_RETURN(decoded.stats, DecodeStats(manifest.stats()));
  if (decoded.length > run.max_update_bytes) {
    return InvalidArgument("manifest.length: got " + std::to_string(decoded.length) + ", want at most " +
                           std::to_string(run.max_update_bytes) + " (an update of this run)");
  }
  return decoded;
}

Result<TaskAnswered::Outcome> DecodeAnswer(const v1::SubmitRequest& request) {
  using Answer = TaskAnswered::Outcome;
  if (request.has_trained()) return Answer(Trained{});
  if (request.answer_case() == v1::SubmitRequest::kSecure) {
    return Answer(SecureAnswer{Bytes(request.secure().begin(), request.secure().end())});
  }
  if (request.has_evaluated()) {
    const v1::EvaluateStats& stats = request.evaluated();
    RETURN_IF_ERROR(CheckFinite(stats.seconds(), "evaluated.seconds"));
    EvaluateStats counted{.totals = {}, .seconds = stats.seconds()};
    for (const v1::Sum& sum : stats.sums()) {
      if (counted.totals.Has(sum.name())) return InvalidArgument("evaluated.sums: got a name twice, want each once");
      RETURN_IF_ERROR(counted.totals.Add(sum.name(), sum.value()));
    }
    RETURN_IF_ERROR(CheckTotals(counted.totals));
    return Answer(std::move(counted));
  }
  if (request.has_failed()) {
    RETURN_IF_ERROR(CheckText(request.failed().message(), kMaxTextBytes, "failed.message"));
    const std::uint32_t code = request.failed().code();
    const bool known = code >= 1 && code <= 16;
    std::string message = Printable(request.failed().message());
    if (message.empty()) message = "no message";
    return Answer(Status(known ? static_cast<Code>(code) : Code::kUnknown, std::move(message)));
  }
  return InvalidArgument("answer: got none, want evaluated, trained, secure or failed");
}

void Encode(const RunInfo& run, v1::GetRunReply& reply) {
  reply.set_protocol_version(kProtocolVersion);
  reply.set_run_id(run.run_id);
  reply.set_run_config(run.run_config);
  reply.set_run_config_sha256(run.run_config_sha256.data(), run.run_config_sha256.size());
  reply.set_layout_sha256(run.layout.data(), run.layout.size());
}

void Encode(const std::vector<Task>& tasks, v1::NextTaskReply& reply) {
  for (const Task& task : tasks) {
    v1::Task& out = *reply.add_tasks();
    EncodeKey(task.key, *out.mutable_key());
    std::visit(BodyEncoder{out}, task.body);
  }
}

}  // namespace fedpeft::server
