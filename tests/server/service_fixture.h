// A running server on loopback with its clients' side: small verbs over the stub, and the events as a queue that the
// test takes from, playing the coordinator.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "peft/core/check.h"
#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.grpc.pb.h"
#include "server/service.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {

class ServiceFixture {
 public:
  struct Options {
    std::string listen = "127.0.0.1:0";
    std::string tls_certificate;
    std::string tls_key;
    std::string client_ca;
    double client_timeout_s = 30;
    const Clock* clock = &Clock::System();
  };
  struct Session {
    std::string token;
    std::string client_id;
  };
  struct PollOutcome {
    grpc::Status status;
    v1::NextTaskReply reply;
  };
  struct OpenOutcome {
    grpc::Status status;
    v1::OpenUploadReply reply;
  };
  struct FetchOutcome {
    grpc::Status status;
    std::string data;
  };

  explicit ServiceFixture(const Options& chosen) {
    run_.run_id = "run-1";
    run_.run_config = "the run";
    run_.weights.fill(1);
    run_.tokenizer.fill(2);
    run_.layout.fill(3);
    run_.max_update_bytes = payload_.size();
    run_.upload_window_bytes = payload_.size();
    run_.client_timeout_s = chosen.client_timeout_s;
    const ServiceOptions options{.listen = chosen.listen,
                                 .tls_certificate = chosen.tls_certificate,
                                 .tls_key = chosen.tls_key,
                                 .client_ca = chosen.client_ca,
                                 .spool_folder = folder_.File("spool")};
    auto server = CoordinatorServer::Start(
        options, run_, [this](Event event) { Take(std::move(event)); }, *chosen.clock);
    FEDPEFT_CHECK(server.ok());
    server_ = std::move(server).value();
    stub_ = StubWith(grpc::InsecureChannelCredentials());
  }

  CoordinatorServer& server() { return *server_; }
  const RunInfo& run() const { return run_; }
  const Bytes& payload() const { return payload_; }
  v1::Coordinator::Stub& stub() { return *stub_; }
  std::unique_ptr<v1::Coordinator::Stub> StubWith(const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
    return v1::Coordinator::NewStub(grpc::CreateChannel("localhost:" + std::to_string(server_->port()), credentials));
  }
  /// A deadline that only a broken server reaches.
  static grpc::ClientContext* Within(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return &context;
  }

  /// The next event of this kind; others are passed over.
  template <typename Kind>
  Kind Next() {
    std::unique_lock lock(mutex_);
    while (true) {
      FEDPEFT_CHECK(arrived_.wait_for(lock, std::chrono::seconds(30), [this] { return !events_.empty(); }));
      Event event = std::move(events_.front());
      events_.pop_front();
      if (auto* kind = std::get_if<Kind>(&event)) return std::move(*kind);
    }
  }

  bool EventComesWithin(Duration at_most) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, at_most, [this] { return !events_.empty(); });
  }

  v1::JoinRequest JoinRequestOf(const std::string& name) const {
    v1::JoinRequest request;
    request.set_protocol_version(kProtocolVersion);
    request.set_run_id(run_.run_id);
    request.set_name(name);
    request.set_role(v1::ROLE_TRAINER);
    request.set_weights_sha256(std::string(32, '\1'));
    request.set_tokenizer_sha256(std::string(32, '\2'));
    request.set_layout_sha256(std::string(32, '\3'));
    request.add_examples(100);
    return request;
  }
  grpc::Status TryJoin(const v1::JoinRequest& request) {
    grpc::ClientContext context;
    v1::JoinReply reply;
    return stub_->Join(Within(context), request, &reply);
  }
  Session Join(const std::string& name) {
    grpc::ClientContext context;
    v1::JoinReply reply;
    FEDPEFT_CHECK(stub_->Join(Within(context), JoinRequestOf(name), &reply).ok());
    return {.token = reply.session(), .client_id = reply.client_id()};
  }

  std::future<PollOutcome> PollAsync(const std::string& token, const std::vector<TaskKey>& received = {}) {
    v1::NextTaskRequest request;
    request.set_session(token);
    for (const TaskKey& key : received) FillKey(key, *request.add_received());
    return std::async(std::launch::async, [this, request] {
      grpc::ClientContext context;
      PollOutcome outcome;
      outcome.status = stub_->NextTask(Within(context), request, &outcome.reply);
      return outcome;
    });
  }

  static Task EvaluateTaskFor(const std::string& client) {
    return {.key = {.client_id = client, .round = 1, .attempt = 0, .step = kEvaluateStep},
            .body = EvaluateTask{.params = {.sha256 = {}, .length = 5}}};
  }
  /// Adds a sum to an evaluation, a second one of that name as well.
  static void SetSum(const std::string& name, std::int64_t value, v1::SubmitRequest& request) {
    v1::Sum& sum = *request.mutable_evaluated()->add_sums();
    sum.set_name(name);
    sum.set_value(value);
  }
  v1::SubmitRequest EvaluationOf(const Session& session, const std::string& client) const {
    v1::SubmitRequest request;
    request.set_session(session.token);
    request.set_run_id(run_.run_id);
    FillKey(EvaluateTaskFor(client).key, *request.mutable_key());
    SetSum("examples", 10, request);
    SetSum("correct", 9, request);
    return request;
  }
  std::future<grpc::Status> SubmitAsync(const v1::SubmitRequest& request) {
    return std::async(std::launch::async, [this, request] {
      grpc::ClientContext context;
      v1::SubmitReply reply;
      return stub_->Submit(Within(context), request, &reply);
    });
  }

  v1::UploadManifest ManifestOf(const std::string& client) const {
    v1::UploadManifest manifest;
    manifest.set_run_id(run_.run_id);
    FillKey({.client_id = client, .round = 1, .attempt = 0, .step = kTrainStep}, *manifest.mutable_key());
    manifest.set_length(payload_.size());
    const Digest sha256 = Sha256Of(payload_);
    manifest.set_sha256(sha256.data(), sha256.size());
    manifest.set_payload_sha256(std::string(32, '\4'));
    manifest.set_base_sha256(std::string(32, '\5'));
    return manifest;
  }
  std::future<OpenOutcome> OpenAsync(const Session& session, const v1::UploadManifest& manifest) {
    v1::OpenUploadRequest request;
    request.set_session(session.token);
    *request.mutable_manifest() = manifest;
    return std::async(std::launch::async, [this, request] {
      grpc::ClientContext context;
      OpenOutcome outcome;
      outcome.status = stub_->OpenUpload(Within(context), request, &outcome.reply);
      return outcome;
    });
  }
  /// Of one that does not get as far as the coordinator.
  grpc::Status TryOpen(const Session& session, const v1::UploadManifest& manifest) {
    return OpenAsync(session, manifest).get().status;
  }
  OpenOutcome Open(const Session& session, const v1::UploadManifest& manifest, const UploadDecision& decision) {
    auto opened = OpenAsync(session, manifest);
    Next<UploadOffered>().answer(decision);
    return opened.get();
  }
  v1::OpenUploadReply OpenWanted(const Session& session, const v1::UploadManifest& manifest) {
    OpenOutcome outcome = Open(session, manifest, {.kind = UploadDecision::Kind::kWanted, .reason = {}});
    FEDPEFT_CHECK(outcome.status.ok());
    return outcome.reply;
  }

  v1::UploadChunk ChunkOf(const Session& session, std::uint64_t upload, std::uint64_t offset) const {
    v1::UploadChunk chunk;
    chunk.set_session(session.token);
    chunk.set_upload(upload);
    const ByteSpan all(payload_);
    FillChunk(offset, all.subspan(offset, ChunkSize(offset, all.size())), *chunk.mutable_chunk());
    return chunk;
  }
  grpc::Status SendMessages(const std::vector<v1::UploadChunk>& chunks) {
    grpc::ClientContext context;
    v1::UploadReply reply;
    const auto stream = stub_->Upload(Within(context), &reply);
    for (const v1::UploadChunk& chunk : chunks) {
      if (!stream->Write(chunk)) break;
    }
    stream->WritesDone();
    return stream->Finish();
  }
  grpc::Status SendChunks(const Session& session, std::uint64_t upload, const std::vector<std::uint64_t>& offsets) {
    std::vector<v1::UploadChunk> chunks;
    for (std::uint64_t offset : offsets) chunks.push_back(ChunkOf(session, upload, offset));
    return SendMessages(chunks);
  }
  /// Sends [from, until), whole chunks.
  std::future<grpc::Status> SendAsync(const Session& session, std::uint64_t upload, std::uint64_t from,
                                      std::uint64_t until) {
    std::vector<std::uint64_t> offsets;
    for (std::uint64_t at = from; at < until; at += ChunkSize(at, payload_.size())) offsets.push_back(at);
    return std::async(std::launch::async,
                      [this, session, upload, offsets] { return SendChunks(session, upload, offsets); });
  }

  FetchOutcome Fetch(const std::string& token, const BlobRef& blob, std::uint64_t offset) {
    v1::FetchRequest request;
    request.set_session(token);
    request.set_sha256(blob.sha256.data(), blob.sha256.size());
    request.set_offset(offset);
    grpc::ClientContext context;
    const auto stream = stub_->Fetch(Within(context), request);
    FetchOutcome outcome;
    v1::Chunk chunk;
    while (stream->Read(&chunk)) {
      FEDPEFT_CHECK(CheckChunk(chunk, offset + outcome.data.size(), blob.length).ok());
      outcome.data += chunk.data();
    }
    outcome.status = stream->Finish();
    return outcome;
  }

  static void FillKey(const TaskKey& key, v1::TaskKey& out) {
    out.set_client_id(key.client_id);
    out.set_round(key.round);
    out.set_attempt(key.attempt);
    out.set_step(key.step);
  }

 private:
  void Take(Event event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    arrived_.notify_one();
  }
  static Bytes Payload() {
    Bytes bytes(2 * kChunkBytes + 100);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 131 + i / 256);
    return bytes;
  }

  testing::TempFolder folder_;
  const Bytes payload_ = Payload();
  RunInfo run_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Event> events_;
  std::unique_ptr<CoordinatorServer> server_;
  std::unique_ptr<v1::Coordinator::Stub> stub_;
};

}  // namespace fedpeft::server
