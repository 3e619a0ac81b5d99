#include "server/global_model.h"

#include <utility>
#include <vector>

#include "aggregation/server_optimizer.h"
#include "configs/clip_groups.h"
#include "configs/privacy.h"
#include "configs/secure.h"
#include "peft/core/clock.h"
#include "peft/core/log.h"
#include "peft/plan/plan.h"
#include "peft/plan/ranks.h"

namespace fedpeft::server {
namespace {

using aggregation::ServerOptimizer;
using aggregation::ServerOptimizerConfig;
using aggregation::SumReducer;

SumReducer ReducerOf(const PhaseSpec& phase) {
  const bool by_examples = phase.reducer.weights == ReducerSpec::Weights::kExamples;
  return {by_examples ? aggregation::Weighting::kExamples : aggregation::Weighting::kUniform, phase.reducer.max_weight};
}

ServerOptimizerConfig::Kind KindOf(ServerOptimizerSpec::Kind kind) {
  switch (kind) {
    case ServerOptimizerSpec::Kind::kFedAvg:
      return ServerOptimizerConfig::Kind::kFedAvg;
    case ServerOptimizerSpec::Kind::kFedAvgM:
      return ServerOptimizerConfig::Kind::kFedAvgM;
    case ServerOptimizerSpec::Kind::kFedAdagrad:
      return ServerOptimizerConfig::Kind::kFedAdagrad;
    case ServerOptimizerSpec::Kind::kFedAdam:
      return ServerOptimizerConfig::Kind::kFedAdam;
    case ServerOptimizerSpec::Kind::kFedYogi:
      return ServerOptimizerConfig::Kind::kFedYogi;
  }
  return ServerOptimizerConfig::Kind::kFedAvg;
}

Result<ServerOptimizer> OptimizerOf(const PhaseSpec& phase) {
  const ServerOptimizerSpec& spec = phase.server_optimizer;
  return ServerOptimizer::Make({.kind = KindOf(spec.kind),
                                .learning_rate = spec.learning_rate,
                                .beta1 = spec.beta1,
                                .beta2 = spec.beta2,
                                .tau = spec.tau});
}

/// Without noise.
class ClearSum final : public RoundSum {
 public:
  ClearSum(const SumReducer& reducer, aggregation::IntegerSum sum) : reducer_(reducer), sum_(std::move(sum)) {}

  std::uint64_t update_bytes() const override { return sum_.values().size() * sizeof(float); }
  Status Add(std::uint64_t length, const aggregation::UpdateReader& reader, std::uint64_t weight) override {
    return sum_.Add(length, reader, weight);
  }
  bool spoiled() const override { return sum_.spoiled(); }
  Result<RoundMean> Finish() override {
    ASSIGN_OR_RETURN(aggregation::Reduced reduced, reducer_.Finish(std::move(sum_)));
    return RoundMean{std::move(reduced)};
  }

 private:
  SumReducer reducer_;
  aggregation::IntegerSum sum_;
};

}  // namespace

GlobalModel::GlobalModel(const RunSpec& run, std::shared_ptr<const ParamLayout> layout, RunViews views)
    : run_(run), layout_(std::move(layout)), views_(std::move(views)), max_update_bytes_(views_.max_update_bytes()) {}

Result<GlobalModel> GlobalModel::Make(const RunSpec& run) {
  ASSIGN_OR_RETURN(std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  GlobalModel model(run, std::move(layout), std::move(views));
  model.checkpoint_ = std::make_shared<const Checkpoint>(Checkpoint{ParamVector::Initial(model.layout_, run.seed), {}});
  if (run.secure.on) {
    ASSIGN_OR_RETURN(model.max_update_bytes_, LongestSecureVector(run, model.max_update_bytes_ / sizeof(float)));
  }
  std::uint32_t round = 1;
  for (const PhaseSpec& phase : run.schedule) {
    if (const auto optimizer = OptimizerOf(phase); !optimizer.ok()) return optimizer.status();
    if (run.secure.on) continue;  // its sums are masked, on another grid
    if (const auto sum = model.OpenSum(round, run.privacy.clip); !sum.ok()) return sum.status();
    round += phase.rounds;
  }
  return model;
}

Status GlobalModel::Restore(Checkpoint checkpoint, const Digest& want) {
  if (const Digest got = Sha256Of(Encode(checkpoint)); got != want) {
    return DataLoss("parameters of the last round: got SHA-256 " + Hex(got) + ", want " + Hex(want));
  }
  checkpoint_ = std::make_shared<const Checkpoint>(std::move(checkpoint));
  return OkStatus();
}

Bytes GlobalModel::Encode(const Checkpoint& checkpoint) const {
  Bytes bytes = checkpoint.params.Gather(views_.Masks());
  const Bytes shared = checkpoint.params.Gather(views_.Broadcast(KeptRanksOf(checkpoint.params)));
  bytes.insert(bytes.end(), shared.begin(), shared.end());
  return bytes;
}

Result<std::unique_ptr<RoundSum>> GlobalModel::OpenSum(std::uint32_t round, double clip) const {
  if (!run_.privacy.at_coordinator()) {
    ASSIGN_OR_RETURN(aggregation::IntegerSum sum, BeginSum(round));
    return std::unique_ptr<RoundSum>(std::make_unique<ClearSum>(ReducerOf(run_.PhaseAt(round)), std::move(sum)));
  }
  ASSIGN_OR_RETURN(PrivateSum sum, MakePrivateSum(round, clip));
  return std::unique_ptr<RoundSum>(std::make_unique<PrivateSum>(std::move(sum)));
}

Result<PrivateSum> GlobalModel::MakePrivateSum(std::uint32_t round, double clip) const {
  PrivateSum::Setup setup;
  setup.clip = clip;
  setup.noise_multiplier = run_.privacy.noise_multiplier;
  setup.expected = run_.PhaseAt(round).cohort;
  setup.most = MostInRound(run_, run_.PhaseAt(round));
  ASSIGN_OR_RETURN(setup.groups, UpdateClipGroups(run_, round));
  if (run_.privacy.adaptive) setup.adaptive = AdaptiveClipOf(run_, round);
  if (run_.privacy.correlated()) setup.correlated = {CorrelationOf(run_), round, noise_};
  return PrivateSum::Make(layout_, Payload(round), setup);
}

Status GlobalModel::MakeNoise(privacy::SecretKey key, std::uint32_t committed_round) {
  ASSIGN_OR_RETURN(const PrivateSum sum, MakePrivateSum(1, run_.privacy.clip));
  noise_ = std::make_shared<privacy::CorrelatedNoise>(std::move(key), CorrelationOf(run_).bands(),
                                                      sum.sum().values().size(), sum.deviation());
  Instant told = Clock::System().Now();
  for (std::uint32_t round = 1; round <= committed_round; ++round) {
    noise_->Advance(round);
    if (Clock::System().Now() - told < Seconds(5)) continue;
    told = Clock::System().Now();
    LogInfo("privacy.noise_again", {{"round", round}, {"rounds", committed_round}});
  }
  return OkStatus();
}

Result<aggregation::IntegerSum> GlobalModel::BeginSum(std::uint32_t round) const {
  const PhaseSpec& phase = run_.PhaseAt(round);
  return ReducerOf(phase).Begin(layout_, Payload(round), MostInRound(run_, phase));
}

Result<std::uint64_t> GlobalModel::WeightOf(std::uint32_t round, std::uint64_t examples) const {
  return fedpeft::WeightOf(run_.PhaseAt(round).reducer, examples);
}

Result<std::shared_ptr<const Checkpoint>> GlobalModel::Step(std::uint32_t round, aggregation::Reduced reduced) const {
  const PhaseSpec& phase = run_.PhaseAt(round);
  ASSIGN_OR_RETURN(const ServerOptimizer optimizer, OptimizerOf(phase));
  const KeptRanks kept = KeptRanksOf(checkpoint_->params);
  const PayloadLayout payload = DensePayload(*layout_, views_.At(round).share, phase.reducer.max_abs, kept);
  // State belongs to the optimiser that made it: another one starts afresh.
  const bool fresh = round == 1 || run_.PhaseAt(round - 1).server_optimizer.kind != phase.server_optimizer.kind;
  Checkpoint next{checkpoint_->params.Clone(),
                  fresh ? optimizer.InitialState(layout_->size()) : checkpoint_->optimizer};
  // Scores are taken as they are; what is no score is the optimiser's.
  std::vector<float> mean(layout_->size());
  Put(*layout_, views_.Update(round, kept), reduced.mean, mean);
  reduced.mean = Pick(*layout_, payload, mean);
  const PayloadLayout scores = views_.Scores(kept);
  Put(*layout_, scores, Pick(*layout_, scores, mean), next.params.values());
  // What the round does not share keeps its value and its state.
  std::vector<float> shared = Pick(*layout_, payload, next.params.values());
  aggregation::OptimizerState state;
  for (const auto& [name, values] : next.optimizer) state[name] = Pick(*layout_, payload, values);
  RETURN_IF_ERROR(optimizer.Step(reduced, shared, state));
  Put(*layout_, payload, shared, next.params.values());
  for (auto& [name, values] : next.optimizer) Put(*layout_, payload, state[name], values);
  AllocateRanks(run_.plan.method, round, run_.total_rounds(), next.params);
  return std::make_shared<const Checkpoint>(std::move(next));
}

}  // namespace fedpeft::server
