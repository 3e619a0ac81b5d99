// Uploads in flight: admission by bytes, resumption, verification as they stream. An upload belongs to a client, not to
// a session, so that a client that lost its connection goes on where it stopped. What a peer claims allocates nothing:
// admission takes bytes of the window, memory and disk are taken by the bytes that arrive.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "peft/core/bytes.h"
#include "peft/core/clock.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "server/events.h"
#include "server/spool.h"

namespace fedpeft::v1 {
class Chunk;
}

namespace fedpeft::server {

using UploadId = std::uint64_t;

/// One admitted upload. Threads: the chunks belong to the one stream that has it attached.
class Upload {
 public:
  Upload(UploadId id, UploadManifest manifest, ByteWindow::Share share, std::shared_ptr<Spool> spool);

  UploadId id() const { return id_; }
  const UploadManifest& manifest() const { return manifest_; }
  /// Bytes that arrived and verified: where to go on.
  std::uint64_t received() const { return received_; }
  bool complete() const { return received_ == manifest_.length; }

  /// Errors: CheckChunk's; the spool's. After an error what was received before still stands.
  Status Append(const v1::Chunk& chunk);
  /// Pre: complete(). Errors: kInvalidArgument when the SHA-256 is not the manifest's. Once.
  Result<std::unique_ptr<UploadedBytes>> Finish();

 private:
  const UploadId id_;
  const UploadManifest manifest_;
  ByteWindow::Share share_;
  const std::shared_ptr<Spool> spool_;
  std::uint64_t received_ = 0;
  Sha256 sha256_;
  /// Of an upload of one chunk.
  Bytes memory_;
  /// Of a larger one, from its first chunk on.
  std::unique_ptr<Spool::File> file_;
};

/// Threads: any.
class UploadTable {
 public:
  /// Ends the stream an upload is attached to; called without a lock held.
  using EndStream = std::function<void(Status)>;
  struct Admission {
    UploadId id = 0;
    std::uint64_t offset = 0;
  };
  /// When to ask again if there is no room.
  static constexpr double kRetryAfterSeconds = 0.5;
  /// An upload whose next chunk does not come for this long is given up; so is one that nobody resumes.
  static constexpr double kSilenceSeconds = 60;

  UploadTable(std::uint64_t window_bytes, std::shared_ptr<Spool> spool)
      : window_(std::make_shared<ByteWindow>(window_bytes)), spool_(std::move(spool)) {}

  /// A place for the update of a client, or the one it already has when task and SHA-256 are the same; another upload
  /// of the client is dropped. Nothing: no room now, or the old stream of this upload is only just being ended.
  std::optional<Admission> Admit(const UploadManifest& manifest, Instant now);

  /// Ties the upload to a stream. Errors: kNotFound, also when `owns` denies the client; kAlreadyExists when another
  /// stream sends it.
  Result<std::shared_ptr<Upload>> Attach(UploadId id, const std::function<bool(const std::string&)>& owns, Instant now,
                                         EndStream end_stream);
  /// A chunk arrived.
  void Touch(UploadId id, Instant now);
  /// The stream is over; the upload stays for a resumption unless `drop`.
  void Detach(UploadId id, bool drop, Instant now);

  /// Ends and drops what is not of this attempt.
  void CloseBefore(std::uint32_t round, std::uint32_t attempt);
  void DropSilent(Instant now);

  std::uint64_t window_used() const { return window_->used(); }

 private:
  struct Slot {
    std::shared_ptr<Upload> upload;
    /// A stream has it, until that stream detaches itself: nobody else may touch the upload's bytes.
    bool streaming = false;
    EndStream end_stream;
    Instant touched;
  };
  /// Pre: mutex_ is held, the client has no upload.
  std::optional<Admission> AdmitNew(const UploadManifest& manifest, Instant now);
  template <typename Predicate>
  void DropIf(Predicate drop, const Status& why);

  const std::shared_ptr<ByteWindow> window_;
  const std::shared_ptr<Spool> spool_;
  std::mutex mutex_;
  std::map<UploadId, Slot> slots_;             // guarded by mutex_
  std::map<std::string, UploadId> by_client_;  // guarded by mutex_
  UploadId last_id_ = 0;                       // guarded by mutex_
};

}  // namespace fedpeft::server
