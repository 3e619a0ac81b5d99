#include "server/calls.h"

#include <utility>

#include "peft/core/log.h"
#include "proto/chunks.h"
#include "server/tls.h"
#include "server/wire.h"

namespace fedpeft::server {

void WriterEnd::Finish(const grpc::Status& status) {
  State state = State::kOpen;
  if (!state_.compare_exchange_strong(state, State::kOver) && state == State::kCancelling &&
      state_.compare_exchange_strong(state, State::kLeft)) {
    return;
  }
  reactor_->Finish(status);
}

void WriterEnd::Cancel() {
  State state = State::kOpen;
  if (!state_.compare_exchange_strong(state, State::kCancelling)) return;
  context_->TryCancel();
  if (state_.exchange(State::kOver) == State::kLeft) reactor_->Finish(ToGrpc(Cancelled("stream: was cancelled")));
}

UploadCall::UploadCall(Hub& hub, Hub::Certificate certificate) : hub_(hub), certificate_(std::move(certificate)) {
  watched_ = hub_.streams().Add([end = end_] {
    end->Finish(DeadlineExceeded("upload: no chunk since the stream was opened (open the upload again)"));
  });
  StartRead(&chunk_);
}

void UploadCall::OnReadDone(bool ok) {
  if (!ok) {
    InputEnded();
    return;
  }
  if (const Status status = TakeChunk(); !status.ok()) {
    // What is complete cannot be gone on with: there is no chunk left to send.
    if (upload_) hub_.DetachUpload(upload_->id(), /*drop=*/upload_->complete());
    upload_.reset();
    Refuse(status);
    return;
  }
  // Also when somebody has finished the call meanwhile: the read then fails, and what is to be done last is done there.
  StartRead(&chunk_);
}

void UploadCall::OnCancel() {
  // The open read fails too and detaches the upload; but a call that waits for the coordinator has no read open.
  end_->Finish(Cancelled("upload: cancelled, or its deadline passed"));
}

Status UploadCall::TakeChunk() {
  if (!upload_) RETURN_IF_ERROR(Attach());
  if (chunk_.session() != token_ || chunk_.upload() != upload_->id()) {
    return InvalidArgument("upload " + std::to_string(upload_->id()) +
                           ": got a chunk of another session or upload, want one upload a stream");
  }
  RETURN_IF_ERROR(upload_->Append(chunk_.chunk()));
  hub_.TouchUpload(upload_->id());
  return OkStatus();
}

Status UploadCall::Attach() {
  ASSIGN_OR_RETURN(session_, hub_.Authenticate(chunk_.session(), certificate_));
  const auto end_stream = [end = end_](const Status& why) { end->Finish(why); };
  ASSIGN_OR_RETURN(upload_, hub_.AttachUpload(session_, chunk_.upload(), end_stream));
  token_ = chunk_.session();
  watched_ = StreamWatch::Ticket();
  return OkStatus();
}

void UploadCall::Refuse(const Status& why) {
  // A full disk shows here first.
  LogWarning("upload.refused", {{"upload", chunk_.upload()}, {"reason", why.ToString()}});
  end_->Finish(why);
}

void UploadCall::InputEnded() {
  if (!upload_) {
    end_->Finish(InvalidArgument("upload: got no chunk, want at least one"));
    return;
  }
  const std::shared_ptr<Upload> upload = std::move(upload_);
  if (!upload->complete()) {
    hub_.DetachUpload(upload->id(), /*drop=*/false);
    end_->Finish(InvalidArgument("upload " + std::to_string(upload->id()) + ": ended after " +
                                 std::to_string(upload->received()) + " bytes, want " +
                                 std::to_string(upload->manifest().length) + " (open it again to go on)"));
    return;
  }
  Result<std::unique_ptr<UploadedBytes>> bytes = upload->Finish();
  hub_.DetachUpload(upload->id(), /*drop=*/true);
  if (!bytes.ok()) {
    Refuse(bytes.status());
    return;
  }
  hub_.Arrived({.session = session_,
                .manifest = upload->manifest(),
                .bytes = std::move(bytes).value(),
                .answer = [end = end_](const Status& status) { end->Finish(status); }});
}

FetchCall::FetchCall(Hub& hub, grpc::CallbackServerContext& context, const grpc::ByteBuffer& request)
    : end_(std::make_shared<WriterEnd>(this, &context)) {
  if (const Status status = Open(hub, CertificateName(context), request); !status.ok()) {
    end_->Finish(ToGrpc(status));
    return;
  }
  watched_ = hub.streams().Add([end = end_] { end->Cancel(); });
  WriteNext();
}

Status FetchCall::Open(Hub& hub, const Hub::Certificate& certificate, const grpc::ByteBuffer& request) {
  grpc::Slice encoded;
  v1::FetchRequest fetch;
  if (!request.DumpToSingleSlice(&encoded).ok() ||
      !fetch.ParseFromArray(encoded.begin(), static_cast<int>(encoded.size()))) {
    return InvalidArgument("request: got bytes that do not parse, want a FetchRequest");
  }
  ASSIGN_OR_RETURN([[maybe_unused]] const SessionId session, hub.Authenticate(fetch.session(), certificate));
  ASSIGN_OR_RETURN(const Digest sha256, DecodeDigest(fetch.sha256(), "sha256"));
  ASSIGN_OR_RETURN(blob_, hub.blobs().Find(sha256, fetch.offset()));
  offset_ = fetch.offset();
  return OkStatus();
}

void FetchCall::WriteNext() {
  if (offset_ == blob_->length()) {
    end_->Finish(grpc::Status::OK);
    return;
  }
  chunk_ = blob_->ChunkAt(offset_);
  offset_ += ChunkSize(offset_, blob_->length());
  StartWrite(&chunk_);
}

void FetchCall::OnWriteDone(bool ok) {
  if (ok) {
    watched_.Touch();
    WriteNext();
  } else {
    end_->Finish(ToGrpc(Cancelled("fetch: the connection is gone")));
  }
}

}  // namespace fedpeft::server
