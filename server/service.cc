#include "server/service.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <mutex>
#include <utility>
#include <vector>

#include "peft/core/log.h"
#include "proto/limits.h"
#include "proto/protocol.grpc.pb.h"
#include "server/calls.h"
#include "server/hub.h"
#include "server/tls.h"
#include "server/wire.h"

namespace fedpeft::server {
namespace {

using Rpc = v1::Coordinator;
/// All methods by callback; Fetch takes and gives bytes, so that its chunks are encoded once for everybody.
using RpcBase = Rpc::WithCallbackMethod_GetRun<Rpc::WithCallbackMethod_Join<Rpc::WithCallbackMethod_NextTask<
    Rpc::WithCallbackMethod_Submit<Rpc::WithCallbackMethod_OpenUpload<Rpc::WithCallbackMethod_Upload<
        Rpc::WithRawCallbackMethod_Fetch<Rpc::WithCallbackMethod_Leave<Rpc::Service>>>>>>>>;

constexpr const char* kServiceName = "fedpeft.v1.Coordinator";
/// Calls of one connection at a time: a poll, a few transfers a virtual client in training, answers.
constexpr int kMaxStreams = 128;
/// What a client sends at once, a chunk and what it belongs to: gRPC parses messages of strangers too, and what parses
/// takes many times its bytes.
constexpr std::size_t kMaxRequestBytes = kChunkBytes + (std::size_t{64} << 10);
/// How long calls under way may still take at the end.
constexpr auto kShutdownGrace = std::chrono::seconds(1);

class Handlers final : public RpcBase {
 public:
  explicit Handlers(Hub& hub) : hub_(hub) {}

  grpc::ServerUnaryReactor* GetRun(grpc::CallbackServerContext*, const v1::GetRunRequest*,
                                   v1::GetRunReply* reply) override {
    // A client of another version gets the answer too: the version in it says what is wrong.
    auto* call = new UnaryCall;
    call->end()->Finish(OkStatus(), [&] { Encode(hub_.run(), *reply); });
    return call;
  }

  grpc::ServerUnaryReactor* Join(grpc::CallbackServerContext* context, const v1::JoinRequest* request,
                                 v1::JoinReply* reply) override {
    auto* call = new UnaryCall;
    const Status status = JoinNow(*context, *request, *reply);
    if (!status.ok()) {
      LogWarning("join.refused", {{"peer", context->peer()}, {"reason", status.ToString()}});
    }
    call->end()->Finish(status);
    return call;
  }

  grpc::ServerUnaryReactor* NextTask(grpc::CallbackServerContext* context, const v1::NextTaskRequest* request,
                                     v1::NextTaskReply* reply) override {
    auto* call = new UnaryCall;
    if (const Status status = Poll(*context, *request, *reply, *call); !status.ok()) call->end()->Finish(status);
    return call;
  }

  grpc::ServerUnaryReactor* Submit(grpc::CallbackServerContext* context, const v1::SubmitRequest* request,
                                   v1::SubmitReply*) override {
    auto* call = new UnaryCall;
    if (const Status status = SubmitNow(*context, *request, *call); !status.ok()) call->end()->Finish(status);
    return call;
  }

  grpc::ServerUnaryReactor* OpenUpload(grpc::CallbackServerContext* context, const v1::OpenUploadRequest* request,
                                       v1::OpenUploadReply* reply) override {
    auto* call = new UnaryCall;
    if (const Status status = Offer(*context, *request, *reply, *call); !status.ok()) call->end()->Finish(status);
    return call;
  }

  grpc::ServerReadReactor<v1::UploadChunk>* Upload(grpc::CallbackServerContext* context, v1::UploadReply*) override {
    return new UploadCall(hub_, CertificateName(*context));
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Fetch(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override {
    return new FetchCall(hub_, *context, *request);
  }

  grpc::ServerUnaryReactor* Leave(grpc::CallbackServerContext* context, const v1::LeaveRequest* request,
                                  v1::LeaveReply*) override {
    auto* call = new UnaryCall;
    call->end()->Finish(LeaveNow(*context, *request));
    return call;
  }

 private:
  Status JoinNow(const grpc::CallbackServerContext& context, const v1::JoinRequest& request, v1::JoinReply& reply) {
    ASSIGN_OR_RETURN(const JoinClaim claim, Decode(request, hub_.run()));
    ASSIGN_OR_RETURN(Hub::Joined joined, hub_.Join(claim, CertificateName(context)));
    LogInfo("session.opened", {{"client", joined.client_id},
                               {"role", claim.evaluator ? "evaluator" : "trainer"},
                               {"virtual_clients", claim.examples.size()},
                               {"peer", context.peer()},
                               {"software", claim.software}});
    reply.set_session(std::move(joined.token));
    reply.set_client_id(std::move(joined.client_id));
    return OkStatus();
  }

  Status Poll(const grpc::CallbackServerContext& context, const v1::NextTaskRequest& request, v1::NextTaskReply& reply,
              UnaryCall& call) {
    ASSIGN_OR_RETURN(const SessionId session, hub_.Authenticate(request.session(), CertificateName(context)));
    ASSIGN_OR_RETURN(const std::vector<TaskKey> received, DecodeReceived(request));
    const auto answer = [end = call.end(), &reply](Result<std::vector<Task>> outcome) {
      end->Finish(outcome.ok() ? OkStatus() : outcome.status(), [&] {
        if (outcome.ok()) Encode(*outcome, reply);
      });
    };
    ASSIGN_OR_RETURN(const SessionRegistry::PollRef poll, hub_.Poll(session, received, answer));
    call.set_on_cancel([&hub = hub_, poll] { hub.CancelPoll(poll); });
    return OkStatus();
  }

  Status SubmitNow(const grpc::CallbackServerContext& context, const v1::SubmitRequest& request, UnaryCall& call) {
    ASSIGN_OR_RETURN(const SessionId session, hub_.Authenticate(request.session(), CertificateName(context)));
    if (request.run_id() != hub_.run().run_id) return InvalidArgument("run_id: got another, want " + hub_.run().run_id);
    TaskAnswered answered;
    answered.session = session;
    ASSIGN_OR_RETURN(answered.key, Decode(request.key()));
    ASSIGN_OR_RETURN(answered.outcome, DecodeAnswer(request));
    answered.answer = [end = call.end()](const Status& status) { end->Finish(status); };
    hub_.Submit(std::move(answered));
    return OkStatus();
  }

  Status Offer(const grpc::CallbackServerContext& context, const v1::OpenUploadRequest& request,
               v1::OpenUploadReply& reply, UnaryCall& call) {
    ASSIGN_OR_RETURN(const SessionId session, hub_.Authenticate(request.session(), CertificateName(context)));
    ASSIGN_OR_RETURN(UploadManifest manifest, Decode(request.manifest(), hub_.run()));
    hub_.Offer(session, std::move(manifest), [end = call.end(), &reply](const Result<Hub::OfferAnswer>& answer) {
      end->Finish(answer.ok() ? OkStatus() : answer.status(), [&] {
        if (answer.ok()) EncodeOffer(*answer, reply);
      });
    });
    return OkStatus();
  }

  static void EncodeOffer(const Hub::OfferAnswer& answer, v1::OpenUploadReply& reply) {
    if (!answer.refusal.empty()) {
      reply.set_refusal(answer.refusal);
    } else if (answer.complete) {
      reply.mutable_accepted()->set_complete(true);
    } else if (answer.admission) {
      reply.mutable_accepted()->set_upload(answer.admission->id);
      reply.mutable_accepted()->set_offset(answer.admission->offset);
    } else {
      reply.set_retry_after_s(UploadTable::kRetryAfterSeconds);
    }
  }

  Status LeaveNow(const grpc::CallbackServerContext& context, const v1::LeaveRequest& request) {
    ASSIGN_OR_RETURN(const SessionId session, hub_.Authenticate(request.session(), CertificateName(context)));
    if (request.reason().size() > kMaxTextBytes) {
      return InvalidArgument("reason: got " + std::to_string(request.reason().size()) + " bytes, want at most " +
                             std::to_string(kMaxTextBytes));
    }
    hub_.Leave(session, request.reason());
    return OkStatus();
  }

  Hub& hub_;
};

class GrpcServer final : public CoordinatorServer {
 public:
  GrpcServer(RunInfo run, std::shared_ptr<Spool> spool, std::function<void(Event)> sink, const Clock& clock)
      : hub_(std::move(run), std::move(spool), std::move(sink), clock), handlers_(hub_) {}
  ~GrpcServer() override { Shutdown(); }

  Status Listen(const std::string& address, const std::shared_ptr<grpc::ServerCredentials>& credentials);
  Outbox& outbox() override { return hub_; }
  int port() const override { return port_; }
  bool WaitUntilDelivered(Duration at_most) override { return hub_.WaitUntilDelivered(at_most); }
  void Drain() override;
  void Shutdown() override;

 private:
  Hub hub_;
  Handlers handlers_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::once_flag shut_down_;
};

Status GrpcServer::Listen(const std::string& address, const std::shared_ptr<grpc::ServerCredentials>& credentials) {
  grpc::EnableDefaultHealthCheckService(true);
  const RunInfo& run = hub_.run();
  // What all connections and messages in gRPC's hands may take: a base, the window's bytes, and 64 KiB a client.
  grpc::ResourceQuota quota("fedpeft");
  quota.Resize((std::size_t{64} << 20) + run.upload_window_bytes + run.max_clients * (std::size_t{64} << 10));
  grpc::ServerBuilder builder;
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(static_cast<int>(kMaxRequestBytes));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kServerKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kServerMinPingMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
  // Two coordinators on one port would share its clients by chance.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(address, credentials, &port_);
  builder.RegisterService(&handlers_);
  server_ = builder.BuildAndStart();
  if (!server_ || port_ == 0) {
    return Unavailable("listen address: cannot listen on " + address +
                       " (is it HOST:PORT of this machine, and is the port free?)");
  }
  server_->GetHealthCheckService()->SetServingStatus(kServiceName, true);
  LogInfo("server.listening", {{"address", address}, {"port", port_}});
  return OkStatus();
}

void GrpcServer::Drain() {
  if (server_) server_->GetHealthCheckService()->SetServingStatus(kServiceName, false);
  hub_.Drain();
}

void GrpcServer::Shutdown() {
  std::call_once(shut_down_, [this] {
    Drain();
    if (server_) server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    hub_.Stop();
  });
}

}  // namespace

Result<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(const ServiceOptions& options, RunInfo run,
                                                                    std::function<void(Event)> sink,
                                                                    const Clock& clock) {
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials,
                   ServerCredentials(
                       {.certificate = options.tls_certificate, .key = options.tls_key, .client_ca = options.client_ca},
                       options.listen, options.allow_plain_text));
  ASSIGN_OR_RETURN(std::shared_ptr<Spool> spool, Spool::Open(options.spool_folder));
  auto server = std::make_unique<GrpcServer>(std::move(run), std::move(spool), std::move(sink), clock);
  RETURN_IF_ERROR(server->Listen(options.listen, credentials));
  return std::unique_ptr<CoordinatorServer>(std::move(server));
}

}  // namespace fedpeft::server
