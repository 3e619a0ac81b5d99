// GlobalModel: the parameters of the run as the coordinator holds them, and what a round does to them: a sum is opened,
// finished, and stepped into the next checkpoint. Knows aggregation, not clients.
#pragma once

#include <memory>

#include "aggregation/integer_sum.h"
#include "aggregation/reducer.h"
#include "configs/run.h"
#include "configs/views.h"
#include "peft/core/status.h"
#include "peft/params/layout.h"
#include "privacy/crypto/secret.h"
#include "server/checkpoint.h"
#include "server/private_sum.h"
#include "server/round_sum.h"

namespace fedpeft::server {

class GlobalModel {
 public:
  /// Plans the layout; the parameters are the run's initial ones. Errors: the planner's; those of the reducers and
  /// server optimisers of every phase.
  static Result<GlobalModel> Make(const RunSpec& run);

  const std::shared_ptr<const ParamLayout>& layout() const { return layout_; }
  const std::shared_ptr<const Checkpoint>& checkpoint() const { return checkpoint_; }
  /// Checkpoint of the last committed round. Errors: kDataLoss when the digest of its payload is not `want`.
  Status Restore(Checkpoint checkpoint, const Digest& want);
  /// After Step's result is durable.
  void Replace(std::shared_ptr<const Checkpoint> checkpoint) { checkpoint_ = std::move(checkpoint); }

  /// What updates of the round are, with the ranks that are in use now, each tensor with the phase's bound.
  PayloadLayout Payload(std::uint32_t round) const { return views_.Update(round, KeptRanksOf(checkpoint_->params)); }
  /// Of the longest upload: an update, or a masked vector.
  std::uint64_t max_update_bytes() const { return max_update_bytes_; }
  /// Whether clients keep parts of the model.
  bool personal() const { return views_.any_personal(); }
  /// The parameters as clients get them: masks of ranks, then all that some round shares.
  Bytes Encode(const Checkpoint& checkpoint) const;

  /// Under correlated noise: what names the run's, and the last committed round, up to which it is made again. Takes
  /// as long as it took then, without the clients: minutes, where values and rounds are many.
  Status MakeNoise(privacy::SecretKey key, std::uint32_t committed_round);
  /// An empty sum of the round's updates. `clip`: under differential privacy the norm that they are clipped to.
  Result<std::unique_ptr<RoundSum>> OpenSum(std::uint32_t round, double clip) const;
  /// In the clear, without differential privacy.
  Result<aggregation::IntegerSum> BeginSum(std::uint32_t round) const;
  /// Errors: kInvalidArgument: no examples where they are the weight.
  Result<std::uint64_t> WeightOf(std::uint32_t round, std::uint64_t examples) const;
  /// The next checkpoint, by the mean update in Payload(round)'s order. Errors: the optimiser's; the model is as it
  /// was.
  Result<std::shared_ptr<const Checkpoint>> Step(std::uint32_t round, aggregation::Reduced reduced) const;

 private:
  GlobalModel(const RunSpec& run, std::shared_ptr<const ParamLayout> layout, RunViews views);

  Result<PrivateSum> MakePrivateSum(std::uint32_t round, double clip) const;

  RunSpec run_;
  std::shared_ptr<const ParamLayout> layout_;
  RunViews views_;
  std::uint64_t max_update_bytes_;
  /// Of all rounds, where it is correlated.
  std::shared_ptr<privacy::CorrelatedNoise> noise_;
  std::shared_ptr<const Checkpoint> checkpoint_;
};

}  // namespace fedpeft::server
