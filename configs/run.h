// RunSpec: a run as plain structs, translated once from RunConfig. What the coordinator, the client and the PEFT module
// work with; none of them reads RunConfig's messages themselves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "peft/metrics/metrics.h"
#include "peft/plan/plan.h"
#include "privacy/accounting/accountant.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/mechanism/clip.h"
#include "privacy/secagg/parameters.h"

namespace fedpeft::v1 {
class RunConfig;
}

namespace fedpeft {

enum class ProblemType { kClassification, kRegression, kLanguageModelling };

struct ProblemSpec {
  ProblemType type = ProblemType::kClassification;
  /// In the order of the logits; of classification only.
  std::vector<std::string> labels;
  std::string text_column;
  /// Empty: single texts.
  std::string text_pair_column;
  std::string label_column;
  int max_length = 128;
  /// Templates of language modelling (template.h); no prompt: all is learned.
  std::string prompt;
  std::string response;
};

struct TrainSpec {
  enum class Optimizer { kAdamW, kSgd } optimizer = Optimizer::kAdamW;
  /// kAuto: what is fastest on the client's processor.
  enum class BaseDtype { kFloat32, kBfloat16, kInt8, kAuto } base_dtype = BaseDtype::kFloat32;
  enum class Schedule { kConstant, kLinear, kCosine } schedule = Schedule::kConstant;
  double learning_rate = 0;
  double weight_decay = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double momentum = 0;
  int batch_size = 32;
  /// Local passes a round; 0: `steps` steps instead.
  int epochs = 1;
  int steps = 0;
  /// 0: no clipping.
  double clip_norm = 0;
  double base_dropout = 0;
  int warmup_rounds = 0;
  double final_factor = 0;
};

struct ReducerSpec {
  enum class Weights { kExamples, kUniform } weights = Weights::kExamples;
  double max_abs = 16;
  std::uint64_t max_weight = 1'000'000;
};

struct ServerOptimizerSpec {
  enum class Kind { kFedAvg, kFedAvgM, kFedAdagrad, kFedAdam, kFedYogi } kind = Kind::kFedAvg;
  double learning_rate = 1;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double tau = 1e-3;
};

struct PhaseSpec {
  std::uint32_t rounds = 0;
  /// 0: everybody who has joined.
  std::uint32_t cohort = 0;
  std::uint32_t min_clients = 1;
  double over_selection = 0;
  double deadline_s = 600;
  ReducerSpec reducer;
  ServerOptimizerSpec server_optimizer;
  /// The rounds of the phase take these in turn; empty: the default one.
  std::vector<ViewConfig> views = {};
};

struct EvaluationSpec {
  Metric metric = Metric::kAccuracy;
  /// 0: never.
  std::uint32_t every = 1;
  std::uint32_t min_evaluators = 0;
  double deadline_s = 600;
  /// 0: never stop early.
  std::uint32_t patience = 0;
  double min_improvement = 0;
};

struct LimitsSpec {
  std::uint32_t max_clients = 0;
  std::uint32_t max_virtual_clients = 0;
  std::uint64_t upload_window_bytes = 0;
  std::uint32_t max_attempts = 0;
  std::uint32_t keep_rounds = 0;
  double client_timeout_s = 0;
};

struct SecureAggregationSpec {
  /// Off: the coordinator sees every update.
  bool on = false;
  privacy::Threat threat = privacy::Threat::kSemiMalicious;
  double max_drop_out = 0.2;
  double max_corrupt = 0.1;
  /// Of an element; 0: the fewest that leave a value enough.
  int bits = 0;
  /// The largest absolute value of an update in the first round.
  double range = 1;
  bool rotation = false;
  privacy::Suite suite = privacy::Suite::kX25519;
  double step_deadline_s = 60;
  double upload_deadline_s = 600;
};

struct ClipGroupSpec {
  std::vector<std::string> parts;
  double share = 0.5;
};

/// Differential privacy of what is released.
struct PrivacySpec {
  enum class Mechanism { kNone, kCentral, kDistributed, kLocal, kExampleLevel, kDpFtrl } mechanism = Mechanism::kNone;
  privacy::PrivacyBudget budget;
  privacy::AccountantKind accountant = privacy::AccountantKind::kPld;
  /// The L2 norm of an update in the first round, and how it goes on; of kExampleLevel, of an example's gradient, all
  /// tensors that a round trains together.
  double clip = 0.3;
  std::optional<privacy::AdaptiveClip> adaptive = {};
  /// Parts that are clipped together, and what they have of the norm's square. The rest has what is left.
  std::vector<ClipGroupSpec> clip_groups = {};
  /// Over the clip norm; 0: the least with which all rounds stay within the budget.
  double noise_multiplier = 0;
  /// A client is in a round with the probability cohort / population.
  std::uint32_t population = 0;
  /// 0: as many as are drawn.
  std::uint32_t max_cohort = 0;
  /// Of the longest update; of kDistributed only.
  std::uint64_t values = 0;
  /// Rounds from one of a client's to the next, at least; of kDpFtrl only.
  std::uint32_t min_separation = 0;

  bool on() const { return mechanism != Mechanism::kNone; }
  bool central() const { return mechanism == Mechanism::kCentral; }
  /// Clients add shares of the noise, under secure aggregation.
  bool distributed() const { return mechanism == Mechanism::kDistributed; }
  /// Each client hides its single examples (of language modelling: rows) while it trains; train.batch_size is then what
  /// is expected of a batch.
  bool hides_examples() const { return mechanism == Mechanism::kExampleLevel; }
  /// Each client hides itself, or its examples, by noise of its own, and has a ledger of its own.
  bool own() const { return mechanism == Mechanism::kLocal || hides_examples(); }
  /// What becomes of a client's training is hidden from the coordinator too.
  bool hides_from_coordinator() const { return distributed() || mechanism == Mechanism::kLocal; }
  /// A round's cohort is drawn in secret.
  bool sampled() const { return central() || distributed(); }
  /// The coordinator adds noise that is correlated over rounds, in which nobody is sampled.
  bool correlated() const { return mechanism == Mechanism::kDpFtrl; }
  /// The coordinator clips, and adds the noise.
  bool at_coordinator() const { return central() || correlated(); }
  /// Rounds are releases in the coordinator's ledger.
  bool in_ledger() const { return sampled() || correlated(); }
};

struct RunSpec {
  std::string name;
  std::uint64_t seed = 1;
  std::string base_name;
  Digest weights{};
  Digest tokenizer{};
  ProblemSpec problem;
  PeftPlan plan;
  TrainSpec train;
  std::vector<PhaseSpec> schedule;
  EvaluationSpec evaluation;
  LimitsSpec limits;
  SecureAggregationSpec secure = {};
  PrivacySpec privacy = {};

  /// Clients tell nothing of themselves beside their updates: no numbers of examples, no losses, no metrics.
  bool reticent() const { return secure.on || privacy.own(); }
  /// Clients that train may tell metrics of held-out examples, which have no noise.
  bool trainers_evaluate() const { return !secure.on && !privacy.on(); }

  std::uint32_t total_rounds() const;
  /// The phase of round 1, 2, …, total_rounds().
  const PhaseSpec& PhaseAt(std::uint32_t round) const;
};

/// What one of the phase's rounds trains, `index` being the number of its rounds before it.
ViewConfig ViewAt(const PhaseSpec& phase, std::uint32_t index);

/// Pre: none; the message may come from a peer. Errors: kInvalidArgument naming the key path.
Result<RunSpec> TranslateRun(const v1::RunConfig& config);

/// Steps of a round on so many examples.
std::int64_t StepsOf(const TrainSpec& train, std::size_t examples);

/// The learning rate of round 1…total by the run's schedule over rounds.
double LearningRateAt(const TrainSpec& train, std::uint32_t round, std::uint32_t total_rounds);

}  // namespace fedpeft
