// Runner: what the clients of one process compute. It holds the base, each client's examples and one set of working
// parameters, and turns "train from these bytes" into an update. Knows no network.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client/trainer.h"
#include "configs/run.h"
#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "peft/params/param_vector.h"

namespace fedpeft::client {

/// Makes the payload delta `trained − start`, in the payload's order.
Bytes DeltaOf(const ParamVector& trained, const ParamVector& start, const PayloadLayout& payload);

class Runner {
 public:
  struct Update {
    Bytes payload;
    TrainStats stats;
  };

  /// `data[i]` are client i's examples. Errors: the planner's and LocalTrainer's.
  static Result<std::unique_ptr<Runner>> Make(RunSpec run, std::shared_ptr<const BaseModel> base,
                                              std::vector<std::vector<Example>> data);

  /// Trains client `index` from the parameters `start` (payload bytes as broadcast). `name` is the client's id in the
  /// federation and names its random streams.
  /// Errors: kInvalidArgument when `start` does not fit; LocalTrainer::TrainRound's.
  Result<Update> Train(std::size_t index, const std::string& name, std::uint32_t round, double learning_rate,
                       ByteSpan start, const std::atomic<bool>& stop, const LocalTrainer::Progress& progress);
  Result<EvaluateStats> Evaluate(std::size_t index, ByteSpan params, const std::atomic<bool>& stop);

  const RunSpec& run() const { return run_; }
  const Digest& layout_digest() const { return layout_->digest(); }
  /// What an update of that round consists of; round 0, the start, is laid out as round 1.
  PayloadLayout PayloadAt(std::uint32_t round) const;
  /// Bytes of a broadcast or an update, the same in every round.
  std::uint64_t payload_bytes() const { return PayloadAt(1).size * sizeof(float); }
  std::size_t clients() const { return data_.size(); }
  std::size_t examples(std::size_t index) const { return data_[index].size(); }

 private:
  Runner(RunSpec run, std::shared_ptr<const ParamLayout> layout, std::unique_ptr<LocalTrainer> trainer,
         std::vector<std::vector<Example>> data);

  RunSpec run_;
  std::shared_ptr<const ParamLayout> layout_;
  std::unique_ptr<LocalTrainer> trainer_;
  std::vector<std::vector<Example>> data_;
  /// What is not shared keeps the initial values that the seed makes.
  ParamVector start_;
  ParamVector work_;
};

}  // namespace fedpeft::client
