// The hub between the gRPC handlers and the coordinator: holds the sessions, the uploads and the blobs, implements the
// Outbox, posts the events, and keeps time for all of them on one thread. Knows no gRPC calls: a handler gives it
// functions that finish its call, each of which may be called from any thread and must not block.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "peft/core/clock.h"
#include "peft/core/status.h"
#include "server/blobs.h"
#include "server/events.h"
#include "server/run_info.h"
#include "server/session.h"
#include "server/stream_watch.h"
#include "server/transfer.h"

namespace fedpeft::server {

class Hub final : public Outbox {
 public:
  using Sink = std::function<void(Event)>;
  using Certificate = std::optional<std::string>;
  /// Exactly one of them, or why neither.
  struct OfferAnswer {
    std::optional<UploadTable::Admission> admission;
    bool complete = false;
    /// The coordinator's reason, for good.
    std::string refusal;
  };

  Hub(RunInfo run, std::shared_ptr<Spool> spool, Sink sink, const Clock& clock);
  ~Hub() override;

  const RunInfo& run() const { return run_; }
  BlobStore& blobs() { return blobs_; }
  /// For streams that no upload in the table speaks for.
  StreamWatch& streams() { return streams_; }

  // ---- for the handlers ------------------------------------------------------------------------------------------

  struct Joined {
    std::string token;
    std::string client_id;
  };
  Result<Joined> Join(const JoinClaim& claim, const Certificate& certificate);
  /// The session of a token. Errors: SessionRegistry::Find's; kPermissionDenied when the certificate is another's.
  Result<SessionId> Authenticate(std::string_view token, const Certificate& certificate) const;
  /// `answer` may be called before this returns.
  Result<SessionRegistry::PollRef> Poll(SessionId session, const std::vector<TaskKey>& received,
                                        SessionRegistry::PollAnswer answer);
  void CancelPoll(SessionRegistry::PollRef poll);
  void Leave(SessionId session, const std::string& reason);
  void Submit(TaskAnswered answered);
  /// Asks the coordinator whether the update is wanted, then for a place.
  void Offer(SessionId session, UploadManifest manifest, std::function<void(Result<OfferAnswer>)> answer);
  Result<std::shared_ptr<Upload>> AttachUpload(SessionId session, UploadId id, UploadTable::EndStream end_stream);
  void TouchUpload(UploadId id);
  void DetachUpload(UploadId id, bool drop);
  /// A verified upload; it is out of the table.
  void Arrived(UploadArrived arrived);

  // ---- Outbox ----------------------------------------------------------------------------------------------------

  void Send(SessionId session, Task task) override;
  void WithdrawTasks() override;
  void SetBusy(SessionId session, bool busy) override;
  BlobRef Publish(std::shared_ptr<const Bytes> blob) override;
  void Retire(const Digest& sha256) override;
  void CloseUploadsBefore(std::uint32_t round, std::uint32_t attempt) override;

  // ---- for the end -----------------------------------------------------------------------------------------------

  /// Blocks until no client has a task that it has not acknowledged (or has left), at most so long.
  bool WaitUntilDelivered(Duration at_most);
  /// Ends the open polls; polls and joins are refused from now on.
  void Drain();
  /// Ends the timer: once no handler runs any more either, the sink is not called again. Called by one thread.
  void Stop();

 private:
  /// How often polls, clients and uploads are looked at: liveness is counted in seconds.
  static constexpr auto kTick = std::chrono::milliseconds(100);

  /// Runs `change` under the mutex, posts its events in the order in which they came about, and ends the polls it
  /// names.
  template <typename Change>
  auto WithEvents(Change change);
  /// The same for changes that make no events.
  template <typename Change>
  void WithPolls(Change change);
  static void EndPolls(SessionRegistry::Effects& effects);
  Status CheckOwner(SessionId session, const std::string& client_id) const;
  void KeepTime();

  const RunInfo run_;
  const Sink sink_;
  const Clock& clock_;
  const std::shared_ptr<UploadTable> uploads_;
  BlobStore blobs_;
  StreamWatch streams_;

  /// Held while events are made and posted, so that they are posted in order; taken before mutex_. Nothing that a sink
  /// may call takes it.
  std::mutex posting_;
  mutable std::mutex mutex_;
  SessionRegistry sessions_;           // guarded by mutex_
  bool stopping_ = false;              // guarded by mutex_
  std::condition_variable delivered_;  // a session ended or acknowledged
  std::condition_variable stop_;
  std::thread timer_;
};

}  // namespace fedpeft::server
