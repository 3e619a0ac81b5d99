// The calls of the service as gRPC reactors. The rules that all of them keep: a call is finished exactly once, by
// whoever claims it first (the answer, the cancellation, the end of a session), with no lock held, and is not touched
// by that party afterwards; only OnDone deletes.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "proto/protocol.pb.h"
#include "proto/status.h"
#include "server/hub.h"

namespace fedpeft::server {

/// The one right to finish a call; outlives the call. Threads: any.
template <typename Reactor>
class CallEnd {
 public:
  explicit CallEnd(Reactor* reactor) : reactor_(reactor) {}
  /// `fill` writes the response, and runs only if the call is not finished yet.
  void Finish(const Status& status, const std::function<void()>& fill = {}) {
    if (finished_.exchange(true)) return;
    if (fill) fill();
    reactor_->Finish(ToGrpc(status));
  }

 private:
  std::atomic<bool> finished_{false};
  Reactor* const reactor_;
};

/// A call with one answer, which may come later and from elsewhere.
class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  using End = CallEnd<grpc::ServerUnaryReactor>;

  const std::shared_ptr<End>& end() const { return end_; }
  /// Before the handler returns: what else a cancellation does.
  void set_on_cancel(std::function<void()> on_cancel) { on_cancel_ = std::move(on_cancel); }

  void OnCancel() override {
    if (on_cancel_) on_cancel_();
    end_->Finish(Cancelled("call: cancelled, or its deadline passed"));
  }
  void OnDone() override { delete this; }

 private:
  const std::shared_ptr<End> end_ = std::make_shared<End>(this);
  std::function<void()> on_cancel_;
};

/// The same for a call whose open write nothing but a cancellation ends. Whoever cancels holds the call until
/// TryCancel() has returned: gRPC may end the call inside it, or on another thread, and the context goes with the call.
class WriterEnd {
 public:
  using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;
  WriterEnd(Reactor* reactor, grpc::CallbackServerContext* context) : reactor_(reactor), context_(context) {}
  /// By the call itself, once, when it has no write open.
  void Finish(const grpc::Status& status);
  /// By anybody, at any time: the open write fails. Nothing, once the call has been finished.
  void Cancel();

 private:
  /// kLeft: the call wanted to finish while it was being cancelled, and left that to who cancels.
  enum class State { kOpen, kCancelling, kLeft, kOver };
  std::atomic<State> state_{State::kOpen};
  Reactor* const reactor_;
  grpc::CallbackServerContext* const context_;
};

/// Takes an upload's chunks as they come. One chunk is in memory at a time; the next is read when it is dealt with, so
/// gRPC's flow control slows a fast sender down.
class UploadCall final : public grpc::ServerReadReactor<v1::UploadChunk> {
 public:
  UploadCall(Hub& hub, Hub::Certificate certificate);
  void OnReadDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override { delete this; }

 private:
  using End = CallEnd<grpc::ServerReadReactor<v1::UploadChunk>>;

  Status TakeChunk();
  Status Attach();
  /// Finishes the call with an error that is worth a line in the log.
  void Refuse(const Status& why);
  void InputEnded();

  Hub& hub_;
  const Hub::Certificate certificate_;
  const std::shared_ptr<End> end_ = std::make_shared<End>(this);
  /// Until the first chunk; from then on the table of uploads watches.
  StreamWatch::Ticket watched_;
  v1::UploadChunk chunk_;
  // From the first chunk on.
  std::string token_;
  SessionId session_ = 0;
  std::shared_ptr<Upload> upload_;
};

/// Writes a blob's chunks, which it shares with all other fetches of the blob. Everything after the constructor happens
/// in OnWriteDone, and a cancellation (by the peer, or because nobody reads) makes the open write fail.
class FetchCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  FetchCall(Hub& hub, grpc::CallbackServerContext& context, const grpc::ByteBuffer& request);
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

 private:
  Status Open(Hub& hub, const Hub::Certificate& certificate, const grpc::ByteBuffer& request);
  void WriteNext();

  const std::shared_ptr<WriterEnd> end_;
  StreamWatch::Ticket watched_;
  std::shared_ptr<const EncodedBlob> blob_;
  std::uint64_t offset_ = 0;
  grpc::ByteBuffer chunk_;
};

}  // namespace fedpeft::server
