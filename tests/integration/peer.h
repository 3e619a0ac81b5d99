// A client of the test's own making: speaks the protocol over a real stub, honestly by default, so that a test changes
// the one thing it lies about.
#pragma once

#include <grpcpp/create_channel.h>

#include <memory>
#include <string>
#include <vector>

#include "configs/run.h"
#include "configs/views.h"
#include "peft/core/check.h"
#include "peft/core/hash.h"
#include "peft/plan/plan.h"
#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.grpc.pb.h"
#include "proto/run_config.pb.h"
#include "tests/integration/process.h"

namespace fedpeft::testing {

inline std::string AsString(const Digest& digest) {
  return {digest.begin(), digest.end()};
}

class Peer {
 public:
  /// Asks for the run and joins it as a trainer.
  Peer(const std::string& address, const std::string& name)
      : stub_(v1::Coordinator::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    v1::GetRunRequest ask;
    ask.set_protocol_version(kProtocolVersion);
    FEDPEFT_CHECK(Call(&v1::Coordinator::Stub::GetRun, ask, run_).ok());
    v1::RunConfig config;
    FEDPEFT_CHECK(config.ParseFromString(run_.run_config()));
    const RunSpec run = TranslateRun(config).value();
    const auto layout = PlanLayout(run.plan).value();
    payload_ = RunViews::Make(run.plan, run.schedule, layout).value().Update(1);

    join_.set_protocol_version(kProtocolVersion);
    join_.set_run_id(run_.run_id());
    join_.set_name(name);
    join_.set_role(v1::ROLE_TRAINER);
    join_.set_weights_sha256(AsString(run.weights));
    join_.set_tokenizer_sha256(AsString(run.tokenizer));
    join_.set_layout_sha256(run_.layout_sha256());
    join_.add_examples(10);
    v1::JoinReply joined;
    FEDPEFT_CHECK(TryJoin(join_, joined).ok());
    session_ = joined.session();
  }
  ~Peer() {
    v1::LeaveRequest leave;
    leave.set_session(session_);
    v1::LeaveReply reply;
    static_cast<void>(Call(&v1::Coordinator::Stub::Leave, leave, reply));
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const std::string& session() const { return session_; }
  /// The request it joined with.
  const v1::JoinRequest& join() const { return join_; }
  /// An update that changes nothing.
  Bytes Zeros() const { return Bytes(payload_.size * sizeof(float)); }

  grpc::Status TryJoin(const v1::JoinRequest& request, v1::JoinReply& reply) {
    return Call(&v1::Coordinator::Stub::Join, request, reply);
  }
  grpc::Status TryPoll(const std::string& session) {
    v1::NextTaskRequest request;
    request.set_session(session);
    v1::NextTaskReply reply;
    return Call(&v1::Coordinator::Stub::NextTask, request, reply);
  }
  /// Polls until it is asked to train.
  v1::Task NextTrainTask() {
    while (true) {
      v1::NextTaskReply reply;
      poll_.set_session(session_);
      FEDPEFT_CHECK(Call(&v1::Coordinator::Stub::NextTask, poll_, reply).ok());
      poll_.clear_received();
      for (const v1::Task& task : reply.tasks()) *poll_.add_received() = task.key();
      for (const v1::Task& task : reply.tasks()) {
        if (task.has_train()) return task;
      }
    }
  }
  grpc::Status TryFetch(const std::string& session, const std::string& sha256, std::uint64_t offset) {
    v1::FetchRequest request;
    request.set_session(session);
    request.set_sha256(sha256);
    request.set_offset(offset);
    grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = stub_->Fetch(&context, request);
    v1::Chunk chunk;
    while (stream->Read(&chunk)) {
    }
    return stream->Finish();
  }

  v1::UploadManifest ManifestOf(const v1::Task& task, const Bytes& update) const {
    v1::UploadManifest manifest;
    manifest.set_run_id(run_.run_id());
    *manifest.mutable_key() = task.key();
    manifest.set_length(update.size());
    manifest.set_sha256(AsString(Sha256Of(update)));
    manifest.set_payload_sha256(AsString(payload_.digest));
    manifest.set_base_sha256(task.train().params().sha256());
    manifest.mutable_stats()->set_examples(10);
    manifest.mutable_stats()->set_steps(1);
    return manifest;
  }
  /// Why the upload is not admitted; empty when it is, and then `upload` is its number.
  std::string OpenRefusal(const v1::UploadManifest& manifest, std::uint64_t& upload) {
    v1::OpenUploadRequest request;
    request.set_session(session_);
    *request.mutable_manifest() = manifest;
    v1::OpenUploadReply reply;
    const grpc::Status status = Call(&v1::Coordinator::Stub::OpenUpload, request, reply);
    upload = reply.accepted().upload();
    return status.ok() ? reply.refusal() : status.error_message();
  }
  grpc::Status Send(std::uint64_t upload, const std::vector<v1::Chunk>& chunks) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::UploadReply reply;
    const auto stream = stub_->Upload(&context, &reply);
    v1::UploadChunk message;
    message.set_session(session_);
    message.set_upload(upload);
    for (const v1::Chunk& chunk : chunks) {
      *message.mutable_chunk() = chunk;
      if (!stream->Write(message)) break;
    }
    stream->WritesDone();
    return stream->Finish();
  }
  /// An upload that stays open after its first chunk, until the coordinator ends it.
  class Stalled {
   public:
    Stalled(Peer& peer, std::uint64_t upload, const v1::Chunk& first) {
      SetDeadline(context_);
      stream_ = peer.stub_->Upload(&context_, &reply_);
      v1::UploadChunk message;
      message.set_session(peer.session_);
      message.set_upload(upload);
      *message.mutable_chunk() = first;
      FEDPEFT_CHECK(stream_->Write(message));
    }
    /// Blocks for the coordinator's verdict.
    grpc::Status End() { return stream_->Finish(); }

   private:
    grpc::ClientContext context_;
    v1::UploadReply reply_;
    std::unique_ptr<grpc::ClientWriter<v1::UploadChunk>> stream_;
  };
  static v1::Chunk ChunkOf(std::uint64_t offset, ByteSpan data) {
    v1::Chunk chunk;
    FillChunk(offset, data, chunk);
    return chunk;
  }
  /// Says that it cannot do the task, so that nobody waits for it.
  grpc::Status GiveUp(const v1::Task& task) {
    v1::SubmitRequest request;
    request.set_session(session_);
    request.set_run_id(run_.run_id());
    *request.mutable_key() = task.key();
    request.mutable_failed()->set_code(1);
    request.mutable_failed()->set_message("no wish to");
    v1::SubmitReply reply;
    return Call(&v1::Coordinator::Stub::Submit, request, reply);
  }

 private:
  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
  }
  template <typename Request, typename Reply>
  grpc::Status Call(grpc::Status (v1::Coordinator::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                    const Request& request, Reply& reply) {
    grpc::ClientContext context;
    SetDeadline(context);
    return (stub_.get()->*method)(&context, request, &reply);
  }

  std::unique_ptr<v1::Coordinator::Stub> stub_;
  v1::GetRunReply run_;
  PayloadLayout payload_;
  v1::JoinRequest join_;
  v1::NextTaskRequest poll_;
  std::string session_;
};

}  // namespace fedpeft::testing
