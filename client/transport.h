// Transport: the coordinator's RPCs as functions that return Status, with the project's deadlines, keepalive, chunking
// and checks. It makes one attempt at a thing, except that a transfer that broke off goes on from where it stopped;
// when to try again is the session's decision.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "peft/core/bytes.h"
#include "peft/core/clock.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"

namespace fedpeft::v1 {
class GetRunReply;
class JoinReply;
class JoinRequest;
class LeaveRequest;
class NextTaskReply;
class NextTaskRequest;
class SubmitRequest;
class UploadManifest;
}  // namespace fedpeft::v1

namespace fedpeft::client {

struct ConnectOptions {
  /// host:port.
  std::string server;
  /// PEM files. `tls_ca` turns TLS on; certificate and key, given together, are this client's identity.
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  /// Allows plain text to a host that is not loopback.
  bool insecure = false;
};

/// Thread-safe: one thread polls while another transfers.
class Transport {
 public:
  /// Connects lazily: an unreachable server shows at the first call. Errors: kNotFound for a missing PEM file,
  /// kInvalidArgument for half a certificate pair, kFailedPrecondition for plain text beyond loopback.
  static Result<std::unique_ptr<Transport>> Make(const ConnectOptions& options);
  ~Transport();

  Result<v1::GetRunReply> GetRun();
  Result<v1::JoinReply> Join(const v1::JoinRequest& request);
  /// Held by the server until there is a task; Stop() ends it with kCancelled.
  Result<v1::NextTaskReply> NextTask(const v1::NextTaskRequest& request);
  Status Submit(const v1::SubmitRequest& request);
  void Leave(const v1::LeaveRequest& request);

  /// A blob by its hash; goes on after a broken stream, and checks length, every chunk and the SHA-256.
  Result<Bytes> Fetch(const std::string& session, const Digest& sha256, std::uint64_t length);
  /// Offers the update and streams what the coordinator does not have yet. The result is empty once the coordinator has
  /// all of it; else there is no room now, and the coordinator asks to be asked again after that long (0 to 60 s).
  /// Errors: kFailedPrecondition when it is refused for good; kOutOfRange when it is to go on where nothing is left;
  /// what gRPC says when the stream breaks (call again to go on).
  Result<std::optional<Duration>> Upload(const std::string& session, const v1::UploadManifest& manifest,
                                         ByteSpan content);

  /// Ends the calls in flight, the open poll among them; later calls fail with kCancelled. From any thread.
  void Stop();

 private:
  struct Impl;
  explicit Transport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedpeft::client
