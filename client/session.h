// Session: a client process's life with a coordinator. One thread keeps a poll open; the caller's thread does the
// tasks, one after another, and hands in the answers. Losing the coordinator for a while, or being forgotten by it, is
// normal: the session waits, joins again, and hands in what it has trained.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "client/runner.h"
#include "client/task_queue.h"
#include "client/transport.h"
#include "client/update_store.h"
#include "client/worker.h"
#include "peft/core/status.h"

namespace fedpeft::client {

struct SessionOptions {
  std::string run_id;
  /// The identity that is claimed; with mutual TLS the certificate's name.
  std::string name;
  bool evaluator = false;
  /// What the coordinator's log calls the program.
  std::string software = "fedpeft-client";
  Digest weights{};
  Digest tokenizer{};
  /// A coordinator that cannot be reached for this long, from the first failure on, ends the session; 0: it is waited
  /// for for ever.
  double max_wait_s = 0;
  /// What they point to must outlive the session.
  Worker::Guards guards = {};
};

class Session {
 public:
  /// The three must outlive the session.
  Session(Transport& transport, Runner& runner, UpdateStore& updates, SessionOptions options);
  ~Session();

  /// Joins and works until the run is finished; `stop` gives up the task in progress and tells the coordinator.
  /// Afterwards the transport is stopped. Errors: the coordinator's refusal to join; kAborted when another process
  /// joined under the same name; kUnavailable after max_wait_s; kCancelled after `stop`. Once.
  Status Run(std::stop_token stop = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fedpeft::client
