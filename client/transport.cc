#include "client/transport.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

#include "peft/core/files.h"
#include "proto/address.h"
#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.grpc.pb.h"
#include "proto/status.h"

namespace fedpeft::client {

namespace {

constexpr std::chrono::seconds kCallTimeout{30};
/// A transfer's deadline grows with its length: at least 64 KiB/s.
constexpr std::uint64_t kSlowestBytesPerSecond = std::uint64_t{64} << 10;
constexpr std::uint64_t kMaxPemBytes = std::uint64_t{1} << 20;
constexpr int kMaxStreamRestarts = 5;
constexpr double kLongestWaitSeconds = 60;

std::chrono::seconds TransferTimeout(std::uint64_t bytes) {
  return kCallTimeout + std::chrono::seconds(static_cast<std::int64_t>(bytes / kSlowestBytesPerSecond));
}

Result<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(const ConnectOptions& options) {
  if (options.tls_ca.empty()) {
    if (!options.tls_cert.empty() || !options.tls_key.empty()) {
      return InvalidArgument(
          "--tls-cert and --tls-key: want --tls-ca with them (the coordinator must be verified too)");
    }
    if (!IsLoopback(options.server) && !options.insecure) {
      return FailedPrecondition(options.server +
                                ": is not loopback, want TLS (--tls-ca FILE), or --insecure to send plain text");
    }
    return grpc::InsecureChannelCredentials();
  }
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return InvalidArgument("--tls-cert and --tls-key: want both or neither");
  }
  grpc::SslCredentialsOptions ssl;
  ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(options.tls_ca, kMaxPemBytes));
  if (!options.tls_cert.empty()) {
    ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadFile(options.tls_cert, kMaxPemBytes));
    ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(options.tls_key, kMaxPemBytes));
  }
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments MakeArguments(const std::string& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  // A name is looked up again at every try; gRPC would wait 30 s between look-ups, and so to reconnect.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  arguments.SetInt(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, static_cast<int>(kMaxMessageBytes));
  // http_proxy of the environment is for other machines; and plain text that may go to loopback may not go to a proxy.
  if (IsLoopback(server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

/// A wait that a coordinator asks for, whatever the number.
Duration WaitOf(double seconds) {
  return Seconds(seconds > 0 ? std::min(seconds, kLongestWaitSeconds) : 0);  // not a number: 0
}

std::string AsString(const Digest& digest) {
  return std::string(digest.begin(), digest.end());
}

}  // namespace

struct Transport::Impl {
  std::unique_ptr<v1::Coordinator::Stub> stub;

  // The contexts of calls in flight, so that Stop() can cancel them. Guarded by mutex.
  std::mutex mutex;
  std::set<grpc::ClientContext*> open;
  bool stopped = false;

  /// One call: a context with its deadline that Stop() can reach.
  class Call {
   public:
    Call(Impl& impl, std::chrono::seconds timeout) : impl_(impl) {
      context_.set_deadline(std::chrono::system_clock::now() + timeout);
      const std::lock_guard lock(impl_.mutex);
      impl_.open.insert(&context_);
      if (impl_.stopped) context_.TryCancel();
    }
    ~Call() {
      const std::lock_guard lock(impl_.mutex);
      impl_.open.erase(&context_);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    grpc::ClientContext* context() { return &context_; }

   private:
    Impl& impl_;
    grpc::ClientContext context_;
  };

  template <typename Request, typename Reply>
  Result<Reply> Unary(grpc::Status (v1::Coordinator::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                      const Request& request, std::chrono::seconds timeout = kCallTimeout) {
    Call call(*this, timeout);
    Reply reply;
    RETURN_IF_ERROR(FromGrpc((stub.get()->*method)(call.context(), request, &reply)));
    return reply;
  }

  Status FetchOnce(const v1::FetchRequest& request, std::uint64_t length, Bytes& content);
  Status UploadOnce(const std::string& session, std::uint64_t upload, std::uint64_t offset, ByteSpan content);
};

Transport::Transport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Transport::~Transport() = default;

Result<std::unique_ptr<Transport>> Transport::Make(const ConnectOptions& options) {
  ASSIGN_OR_RETURN(const auto credentials, MakeCredentials(options));
  auto impl = std::make_unique<Impl>();
  impl->stub =
      v1::Coordinator::NewStub(grpc::CreateCustomChannel(options.server, credentials, MakeArguments(options.server)));
  return std::unique_ptr<Transport>(new Transport(std::move(impl)));
}

Result<v1::GetRunReply> Transport::GetRun() {
  v1::GetRunRequest request;
  request.set_protocol_version(kProtocolVersion);
  return impl_->Unary(&v1::Coordinator::Stub::GetRun, request);
}

Result<v1::JoinReply> Transport::Join(const v1::JoinRequest& request) {
  return impl_->Unary(&v1::Coordinator::Stub::Join, request);
}

Result<v1::NextTaskReply> Transport::NextTask(const v1::NextTaskRequest& request) {
  return impl_->Unary(&v1::Coordinator::Stub::NextTask, request,
                      std::chrono::seconds(static_cast<std::int64_t>(kPollTimeoutSeconds)));
}

Status Transport::Submit(const v1::SubmitRequest& request) {
  return impl_->Unary(&v1::Coordinator::Stub::Submit, request).status();
}

void Transport::Leave(const v1::LeaveRequest& request) {
  // Not through Unary: leaving happens after Stop(), and its failure changes nothing.
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
  v1::LeaveReply reply;
  static_cast<void>(impl_->stub->Leave(&context, request, &reply));
}

Result<Bytes> Transport::Fetch(const std::string& session, const Digest& sha256, std::uint64_t length) {
  v1::FetchRequest request;
  request.set_session(session);
  request.set_sha256(AsString(sha256));
  Bytes content;
  Status status;
  for (int restart = 0; restart <= kMaxStreamRestarts; ++restart) {
    const std::size_t before = content.size();
    request.set_offset(before);
    status = impl_->FetchOnce(request, length, content);
    if (status.ok()) break;
    if (status.code() != Code::kUnavailable || content.size() == before) return status;  // no progress
  }
  RETURN_IF_ERROR(status);
  if (content.size() != length || Sha256Of(content) != sha256) {
    return DataLoss("parameters: " + std::to_string(content.size()) + " bytes came, want " + std::to_string(length) +
                    " of SHA-256 " + Hex(sha256));
  }
  return content;
}

Status Transport::Impl::FetchOnce(const v1::FetchRequest& request, std::uint64_t length, Bytes& content) {
  Call call(*this, TransferTimeout(length));
  const auto stream = stub->Fetch(call.context(), request);
  v1::Chunk chunk;
  Status bad;
  while (stream->Read(&chunk)) {
    bad = CheckChunk(chunk, content.size(), length);
    if (!bad.ok()) {
      call.context()->TryCancel();
      break;
    }
    content.insert(content.end(), chunk.data().begin(), chunk.data().end());
  }
  const Status end = FromGrpc(stream->Finish());
  return bad.ok() ? end : bad;
}

Result<std::optional<Duration>> Transport::Upload(const std::string& session, const v1::UploadManifest& manifest,
                                                  ByteSpan content) {
  v1::OpenUploadRequest request;
  request.set_session(session);
  *request.mutable_manifest() = manifest;
  ASSIGN_OR_RETURN(const v1::OpenUploadReply reply, impl_->Unary(&v1::Coordinator::Stub::OpenUpload, request));
  switch (reply.result_case()) {
    case v1::OpenUploadReply::kAccepted:
      if (reply.accepted().complete()) return std::optional<Duration>();
      if (reply.accepted().offset() >= content.size()) {
        return OutOfRange("upload: the coordinator wants to go on at " + std::to_string(reply.accepted().offset()) +
                          ", want less than the update's " + std::to_string(content.size()) + " bytes");
      }
      RETURN_IF_ERROR(impl_->UploadOnce(session, reply.accepted().upload(), reply.accepted().offset(), content));
      return std::optional<Duration>();
    case v1::OpenUploadReply::kRetryAfterS:
      return std::optional(WaitOf(reply.retry_after_s()));
    case v1::OpenUploadReply::kRefusal:
      return FailedPrecondition("upload refused: " + reply.refusal());
    case v1::OpenUploadReply::RESULT_NOT_SET:
      break;
  }
  return Internal("upload: the coordinator's answer is empty");
}

Status Transport::Impl::UploadOnce(const std::string& session, std::uint64_t upload, std::uint64_t offset,
                                   ByteSpan content) {
  Call call(*this, TransferTimeout(content.size()));
  v1::UploadReply reply;
  const auto stream = stub->Upload(call.context(), &reply);
  v1::UploadChunk message;
  message.set_session(session);
  message.set_upload(upload);
  do {
    const std::size_t length = ChunkSize(offset, content.size());
    FillChunk(offset, content.subspan(offset, length), *message.mutable_chunk());
    offset += length;
    if (!stream->Write(message)) break;  // Finish says why
  } while (offset < content.size());
  stream->WritesDone();
  return FromGrpc(stream->Finish());
}

void Transport::Stop() {
  const std::lock_guard lock(impl_->mutex);
  impl_->stopped = true;
  for (grpc::ClientContext* context : impl_->open) context->TryCancel();
}

}  // namespace fedpeft::client
