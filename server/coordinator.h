// The coordinator: one loop thread that drives a run. It owns the state folder, the global parameters and the open
// round's sum, hears of clients through Post() and speaks to them through the Outbox. The rules are RunMachine's
// (round.h), durability is Store's (store.h), sums and steps are aggregation's; what is here is the order in which they
// meet: what must be durable is stored before it is sent.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "configs/run.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "peft/params/param_vector.h"
#include "privacy/secagg/session_config.h"
#include "server/events.h"

namespace fedpeft::server {

struct CoordinatorOptions {
  std::string state_folder;
  /// The serialised RunConfig with its defaults filled in: the bytes that clients get and that hashes cover.
  std::string run_config;
  /// Its translation.
  RunSpec run;
  /// What a new state folder's run starts from; empty: the run's initial values. Not called where a run goes on.
  std::function<Result<ParamVector>()> start = {};
  /// Secure aggregation: who vouches for clients' keys; empty: nobody, and their names are taken as they come.
  privacy::CheckCertificate check_certificate = {};
};

/// How a run ended, for the process's exit status.
struct RunOutcome {
  enum class Kind {
    /// The schedule is done, or it stopped early by its rules.
    kFinished,
    /// StopRequested: the next start goes on.
    kStopped,
    /// It cannot go on (no round succeeded in max_attempts, the disk is full …); a next start tries again.
    kFailed
  } kind = Kind::kFailed;
  std::string reason;
};

/// Threads: every public function may be called from any thread.
class Coordinator {
 public:
  /// Locks and opens (or creates) the state folder; nothing runs yet.
  /// Errors: kFailedPrecondition when another process holds the folder, or it belongs to another run (with the
  /// difference); kDataLoss when what is stored does not verify; the store's and the planner's.
  static Result<std::unique_ptr<Coordinator>> Open(CoordinatorOptions options);

  /// Ends the threads at once and keeps the state folder as it is: what a kill would do.
  ~Coordinator();

  /// Drawn when the state folder was created.
  const std::string& run_id() const;
  const RunSpec& run() const;
  const Digest& layout_digest() const;
  /// Bytes of the longest update; the bound for admission.
  std::uint64_t max_update_bytes() const;
  /// Whether clients keep parts of the model.
  bool personal() const;

  /// Starts the loop and the store thread. `outbox` must outlive this object. Pre: called once.
  void Start(Outbox& outbox);

  /// Hands over what happened; never blocks on disk or network. Before Start events wait; after the end they are
  /// answered with kUnavailable.
  void Post(Event event);

  /// Blocks until the run is finished, failed or stopped. After kFinished or kFailed the loop goes on answering until
  /// StopRequested or destruction, so that every client can be told.
  RunOutcome Wait();

 private:
  class Loop;
  explicit Coordinator(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace fedpeft::server
