// The coordinator's gRPC server: the protocol on one port, the health service beside it. It depends on the coordinator
// by events.h alone: events go to a sink, orders come through the Outbox.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "peft/core/clock.h"
#include "peft/core/status.h"
#include "server/events.h"
#include "server/run_info.h"

namespace fedpeft::server {

struct ServiceOptions {
  /// HOST:PORT; port 0: any free one.
  std::string listen;
  /// PEM files (tls.h); all empty: plain text, which only loopback takes.
  std::string tls_certificate;
  std::string tls_key;
  std::string client_ca;
  /// Plain text on any address.
  bool allow_plain_text = false;
  /// For uploads too large for memory; emptied at the start.
  std::string spool_folder;
};

/// Threads: every public function may be called from any thread.
class CoordinatorServer {
 public:
  /// Listens from now on. `sink` gets the events, from gRPC's threads and from the timer's, and must not block. Every
  /// `answer` in them may outlive this object.
  /// Errors: ServerCredentials' (tls.h); kUnavailable when the address cannot be listened on.
  static Result<std::unique_ptr<CoordinatorServer>> Start(const ServiceOptions& options, RunInfo run,
                                                          std::function<void(Event)> sink,
                                                          const Clock& clock = Clock::System());
  virtual ~CoordinatorServer() = default;

  virtual Outbox& outbox() = 0;
  virtual int port() const = 0;
  /// Blocks until every client has acknowledged its tasks or left, at most so long; whether they all did.
  virtual bool WaitUntilDelivered(Duration at_most) = 0;
  /// Refuses new polls and finishes the waiting ones with UNAVAILABLE: the clients come back to the next process.
  virtual void Drain() = 0;
  /// Drains, lets the other calls end for a moment, cancels what is left and returns when the last is gone; the sink is
  /// not called any more. Idempotent; the destructor does the same. The outbox goes on taking orders, without effect.
  virtual void Shutdown() = 0;
};

}  // namespace fedpeft::server
