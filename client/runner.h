// Runner: what the clients of one process compute, as the session and its worker see it: "train from these bytes" gives
// an update. Knows no network. The one of real life is LocalRunner (local_runner.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "client/trainer.h"
#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"

namespace fedpeft::client {

/// Threads: Train and Evaluate from one; the others, which tell what never changes, from any.
class Runner {
 public:
  struct Update {
    Bytes payload;
    /// Of the payload's layout.
    Digest layout{};
    /// The client's own tensors after training, which stay with it; empty when it has none.
    Bytes personal;
    TrainStats stats;
  };

  virtual ~Runner() = default;

  /// Where a task begins: the parameters as broadcast, and the client's own (Update::personal of its last training;
  /// empty before the first).
  struct Start {
    ByteSpan params;
    ByteSpan personal;
  };
  /// Trains client `index`. `name` is the client's id in the federation and names its random streams.
  /// Errors: kInvalidArgument when `start` does not fit; LocalTrainer::TrainRound's, but where clients are hidden from
  /// the coordinator: the update is of nothing then.
  virtual Result<Update> Train(std::size_t index, const std::string& name, std::uint32_t round, const Start& start,
                               const std::atomic<bool>& stop, const LocalTrainer::Progress& progress) = 0;
  /// On what round `round` made. Errors: Train's.
  virtual Result<EvaluateStats> Evaluate(std::size_t index, std::uint32_t round, const Start& start,
                                         const std::atomic<bool>& stop) = 0;

  /// Whether the run leaves parts of the model to its clients.
  virtual bool keeps_personal() const = 0;
  virtual std::uint32_t total_rounds() const = 0;
  virtual const Digest& layout_digest() const = 0;
  /// Bytes of the parameters as broadcast, at most.
  virtual std::uint64_t max_broadcast_bytes() const = 0;
  virtual std::size_t clients() const = 0;
  virtual std::size_t examples(std::size_t index) const = 0;
  /// Of a client that trains: the examples it evaluates on; 0: none.
  virtual std::size_t held_out(std::size_t index) const = 0;
};

}  // namespace fedpeft::client
