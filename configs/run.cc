#include "configs/run.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "configs/translate.h"
#include "configs/validate.h"
#include "configs/views.h"
#include "proto/run_config.pb.h"

namespace fedpeft {

namespace {

// The enums are numbered alike but for the unspecified zero, which validation has refused.
template <typename To, typename From>
To ToEnum(From value) {
  return static_cast<To>(static_cast<int>(value) - 1);
}
static_assert(static_cast<int>(BottleneckConfig::Kind::kParallel) + 1 == v1::Adapter::PARALLEL);
static_assert(static_cast<int>(Activation::kSilu) + 1 == v1::Adapter::SILU);
static_assert(static_cast<int>(HeadPolicy::kLocal) + 1 == v1::Peft::LOCAL);
static_assert(static_cast<int>(TokenEncoder::kMlp) + 1 == v1::Prefix::MLP);
static_assert(static_cast<int>(PromptConfig::Start::kVocabulary) + 1 == v1::Prompt::VOCABULARY);

template <typename Repeated>
auto ToVector(const Repeated& values) {
  return std::vector<typename Repeated::value_type>(values.begin(), values.end());
}

LoraConfig ToLora(const v1::Lora& lora) {
  LoraConfig config;
  config.rank = lora.rank();
  config.alpha = lora.alpha();
  config.dropout = lora.dropout();
  config.target_modules = ToVector(lora.target_modules());
  config.layers = ToVector(lora.layers());
  for (const v1::LoraPattern& pattern : lora.patterns()) {
    config.patterns.push_back({pattern.module(), pattern.rank(), pattern.alpha()});
  }
  config.use_rslora = lora.use_rslora();
  config.use_dora = lora.use_dora();
  return config;
}

PrefixConfig ToPrefix(const v1::Prefix& prefix) {
  return {prefix.length(), ToEnum<TokenEncoder>(prefix.encoder()), prefix.encoder_size()};
}

PromptConfig ToPrompt(const v1::Prompt& prompt, std::uint64_t seed) {
  return {.length = prompt.length(),
          .encoder = ToEnum<TokenEncoder>(prompt.encoder()),
          .encoder_size = prompt.encoder_size(),
          .start = ToEnum<PromptConfig::Start>(prompt.init()),
          .text = prompt.init_text(),
          .seed = seed};
}

MethodConfig ToMethod(const v1::Peft& peft, std::uint64_t seed) {
  switch (peft.method()) {
    case v1::Peft::ADALORA: {
      const v1::AdaLora& adalora = peft.adalora();
      AdaLoraConfig config;
      config.lora.rank = adalora.initial_rank();
      config.lora.alpha = adalora.alpha();
      config.lora.dropout = adalora.dropout();
      config.lora.target_modules = ToVector(adalora.target_modules());
      config.target_rank = adalora.target_rank();
      config.warmup_rounds = adalora.warmup_rounds();
      config.final_rounds = adalora.final_rounds();
      config.beta1 = adalora.beta1();
      config.beta2 = adalora.beta2();
      config.orthogonality = adalora.orthogonality();
      return config;
    }
    case v1::Peft::IA3:
      return Ia3Config{ToVector(peft.ia3().target_modules()), ToVector(peft.ia3().feedforward_modules())};
    case v1::Peft::ADAPTER: {
      const v1::Adapter& adapter = peft.adapter();
      return BottleneckConfig{ToEnum<BottleneckConfig::Kind>(adapter.kind()),
                              adapter.size(),
                              ToEnum<Activation>(adapter.activation()),
                              adapter.scale(),
                              adapter.phm_dim(),
                              adapter.phm_rank()};
    }
    case v1::Peft::PREFIX:
      return ToPrefix(peft.prefix());
    case v1::Peft::PROMPT:
      return ToPrompt(peft.prompt(), seed);
    case v1::Peft::BITFIT:
      return OffsetConfig{OffsetConfig::What::kBiases};
    case v1::Peft::NORM:
      return OffsetConfig{OffsetConfig::What::kNorms};
    case v1::Peft::FULL:
      return OffsetConfig{OffsetConfig::What::kAll};
    case v1::Peft::SPARSE:
      return SparseConfig{peft.sparse().density(), ToVector(peft.sparse().target_modules()), seed};
    case v1::Peft::LLAMA_ADAPTER:
      return LlamaAdapterConfig{peft.llama_adapter().length(), peft.llama_adapter().layers()};
    default:
      return ToLora(peft.lora());
  }
}

}  // namespace

namespace configs {

PeftPlan ToPlan(const v1::RunConfig& config) {
  const v1::Base& base = config.base();
  PeftPlan plan;
  plan.base.model_type = base.model_type();
  plan.base.hidden_size = base.hidden_size();
  plan.base.num_hidden_layers = base.num_hidden_layers();
  plan.base.num_attention_heads = base.num_attention_heads();
  plan.base.intermediate_size = base.intermediate_size();
  plan.base.vocab_size = base.vocab_size();
  plan.base.max_position_embeddings = base.max_position_embeddings();
  plan.base.num_key_value_heads = base.num_key_value_heads();
  plan.base.head_dim = base.head_dim();
  plan.base.position_offset = base.position_offset();
  plan.base.type_vocab_size = base.type_vocab_size();
  plan.base.attention_bias = base.attention_bias();
  plan.base.mlp_bias = base.mlp_bias();
  plan.base.tie_word_embeddings = base.tie_word_embeddings();
  plan.method = ToMethod(config.peft(), config.seed());
  plan.labels = config.problem().type() == v1::Problem::REGRESSION ? 1 : config.problem().labels_size();
  plan.head = ToEnum<HeadPolicy>(config.peft().head());
  return plan;
}

std::vector<Metric> MetricsFor(const v1::Problem& problem) {
  if (problem.type() == v1::Problem::REGRESSION) return {Metric::kPearson, Metric::kSpearman, Metric::kLoss};
  if (problem.type() == v1::Problem::LANGUAGE_MODELLING) {
    return {Metric::kPerplexity, Metric::kTokenAccuracy, Metric::kLoss};
  }
  return {Metric::kAccuracy, Metric::kMacroF1, Metric::kMatthews, Metric::kLoss};
}

}  // namespace configs

namespace {

static_assert(static_cast<int>(TrainSpec::Optimizer::kSgd) + 1 == v1::Train::SGD);
static_assert(static_cast<int>(TrainSpec::BaseDtype::kAuto) + 1 == v1::Train::AUTO);
static_assert(static_cast<int>(TrainSpec::Schedule::kCosine) + 1 == v1::LearningRateSchedule::COSINE);
static_assert(static_cast<int>(ReducerSpec::Weights::kUniform) + 1 == v1::Reducer::UNIFORM);
static_assert(static_cast<int>(ServerOptimizerSpec::Kind::kFedYogi) + 1 == v1::ServerOptimizer::FEDYOGI);
static_assert(static_cast<int>(PrivacySpec::Mechanism::kDpFtrl) + 1 == v1::Privacy::DP_FTRL);
static_assert(static_cast<int>(ProblemType::kLanguageModelling) + 1 == v1::Problem::LANGUAGE_MODELLING);
static_assert(static_cast<int>(Metric::kTokenAccuracy) + 1 == v1::Evaluation::TOKEN_ACCURACY);

ProblemSpec ToProblem(const v1::Problem& problem) {
  return {ToEnum<ProblemType>(problem.type()),
          {problem.labels().begin(), problem.labels().end()},
          problem.text_column(),
          problem.text_pair_column(),
          problem.label_column(),
          static_cast<int>(problem.max_length()),
          problem.prompt(),
          problem.response().empty() ? "{" + problem.text_column() + "}" : problem.response()};
}

TrainSpec ToTrain(const v1::Train& train) {
  TrainSpec spec;
  spec.optimizer = ToEnum<TrainSpec::Optimizer>(train.optimizer());
  spec.base_dtype = ToEnum<TrainSpec::BaseDtype>(train.base_dtype());
  spec.schedule = ToEnum<TrainSpec::Schedule>(train.schedule().kind());
  spec.learning_rate = train.learning_rate();
  spec.weight_decay = train.weight_decay();
  spec.beta1 = train.beta1();
  spec.beta2 = train.beta2();
  spec.epsilon = train.epsilon();
  spec.momentum = train.momentum();
  spec.batch_size = static_cast<int>(train.batch_size());
  spec.epochs = static_cast<int>(train.epochs());
  spec.steps = static_cast<int>(train.steps());
  spec.clip_norm = train.clip_norm();
  spec.base_dropout = train.base_dropout();
  spec.warmup_rounds = static_cast<int>(train.schedule().warmup_rounds());
  spec.final_factor = train.schedule().final_factor();
  return spec;
}

/// Of max_weight 0: what leaves sums enough bits.
constexpr std::uint64_t kMaxWeight = 1'000'000;
constexpr std::uint64_t kMaxSecureWeight = 1000;

PhaseSpec ToPhase(const v1::Phase& phase, bool secure) {
  const v1::Participation& participation = phase.participation();
  const v1::ServerOptimizer& optimizer = phase.server_optimizer();
  PhaseSpec spec;
  spec.rounds = phase.rounds();
  spec.cohort = participation.cohort();
  spec.min_clients = participation.min_clients();
  spec.over_selection = participation.over_selection();
  spec.deadline_s = participation.deadline_s();
  const std::uint64_t max_weight = phase.reducer().max_weight();
  spec.reducer = {ToEnum<ReducerSpec::Weights>(phase.reducer().weights()), phase.reducer().max_abs(),
                  max_weight > 0 ? max_weight : (secure ? kMaxSecureWeight : kMaxWeight)};
  spec.server_optimizer = {ToEnum<ServerOptimizerSpec::Kind>(optimizer.kind()), optimizer.learning_rate(),
                           optimizer.beta1(), optimizer.beta2(), optimizer.tau()};
  for (const v1::View& view : phase.views())
    spec.views.push_back(ViewConfig{ToVector(view.local()), ToVector(view.frozen()), ToVector(view.layers())});
  return spec;
}

EvaluationSpec ToEvaluation(const v1::RunConfig& config) {
  const v1::Evaluation& evaluation = config.evaluation();
  return {evaluation.metric() == v1::Evaluation::AUTO ? configs::MetricsFor(config.problem()).front()
                                                      : ToEnum<Metric>(evaluation.metric()),
          evaluation.every(),
          evaluation.min_evaluators(),
          evaluation.deadline_s(),
          evaluation.patience(),
          evaluation.min_improvement()};
}

LimitsSpec ToLimits(const v1::Limits& limits) {
  return {limits.max_clients(),  limits.max_virtual_clients(), limits.upload_window_bytes(),
          limits.max_attempts(), limits.keep_rounds(),         limits.client_timeout_s()};
}

}  // namespace

SecureAggregationSpec configs::ToSecureAggregation(const v1::SecureAggregation& secure) {
  SecureAggregationSpec spec;
  spec.on = secure.mode() == v1::SecureAggregation::PAIRWISE;
  spec.threat =
      secure.threat() == v1::SecureAggregation::CURIOUS ? privacy::Threat::kCurious : privacy::Threat::kSemiMalicious;
  spec.max_drop_out = secure.max_drop_out();
  spec.max_corrupt = secure.max_corrupt();
  const std::string& bits = secure.bits();
  const auto parsed = std::from_chars(bits.data(), bits.data() + bits.size(), spec.bits);
  if (parsed.ec != std::errc() || parsed.ptr != bits.data() + bits.size()) spec.bits = 0;
  spec.range = secure.range();
  spec.rotation = secure.rotation();
  spec.suite = secure.suite() == v1::SecureAggregation::P256 ? privacy::Suite::kP256 : privacy::Suite::kX25519;
  spec.step_deadline_s = secure.step_deadline_s();
  spec.upload_deadline_s = secure.upload_deadline_s();
  return spec;
}

PrivacySpec configs::ToPrivacy(const v1::Privacy& privacy) {
  PrivacySpec spec;
  spec.mechanism = ToEnum<PrivacySpec::Mechanism>(privacy.mechanism());
  spec.budget = {privacy.budget().epsilon(), privacy.budget().delta()};
  spec.accountant =
      privacy.accountant() == v1::Privacy::RDP ? privacy::AccountantKind::kRdp : privacy::AccountantKind::kPld;
  spec.clip = privacy.clip().norm();
  const v1::AdaptiveClip& adaptive = privacy.clip().adaptive();
  if (adaptive.quantile() > 0) {
    spec.clip = adaptive.start();
    spec.adaptive = {adaptive.quantile(), adaptive.rate(), adaptive.count_noise()};
  }
  for (const v1::ClipGroup& group : privacy.clip().groups()) {
    spec.clip_groups.push_back({ToVector(group.parts()), group.share()});
  }
  const std::string& noise = privacy.noise_multiplier();
  const auto parsed = std::from_chars(noise.data(), noise.data() + noise.size(), spec.noise_multiplier);
  if (parsed.ec != std::errc() || parsed.ptr != noise.data() + noise.size()) spec.noise_multiplier = 0;
  spec.population = privacy.population();
  spec.max_cohort = privacy.max_cohort();
  spec.min_separation = privacy.min_separation();
  return spec;
}

std::vector<PhaseSpec> configs::ToSchedule(const v1::RunConfig& config) {
  std::vector<PhaseSpec> schedule;
  const bool secure = ToSecureAggregation(config.secure_aggregation()).on;
  for (const v1::Phase& phase : config.schedule()) schedule.push_back(ToPhase(phase, secure));
  return schedule;
}

std::uint32_t RunSpec::total_rounds() const {
  std::uint32_t total = 0;
  for (const PhaseSpec& phase : schedule) total += phase.rounds;
  return total;
}

const PhaseSpec& RunSpec::PhaseAt(std::uint32_t round) const {
  FEDPEFT_CHECK(round >= 1 && round <= total_rounds());
  std::size_t index = 0;
  for (std::uint32_t last = schedule[0].rounds; round > last; last += schedule[index].rounds) ++index;
  return schedule[index];
}

ViewConfig ViewAt(const PhaseSpec& phase, std::uint32_t index) {
  return phase.views.empty() ? ViewConfig() : phase.views[index % phase.views.size()];
}

Result<RunSpec> TranslateRun(const v1::RunConfig& config) {
  if (const std::vector<configs::Finding> findings = configs::Validate(config); !findings.empty()) {
    return configs::ToStatus("", {findings.front()});
  }
  RunSpec run;
  run.name = config.name();
  run.seed = config.seed();
  run.base_name = config.base().name();
  run.weights = *DigestFromHex(config.base().weights_sha256());
  run.tokenizer = *DigestFromHex(config.base().tokenizer_sha256());
  run.problem = ToProblem(config.problem());
  run.plan = configs::ToPlan(config);
  run.train = ToTrain(config.train());
  run.schedule = configs::ToSchedule(config);
  run.evaluation = ToEvaluation(config);
  run.limits = ToLimits(config.limits());
  run.secure = configs::ToSecureAggregation(config.secure_aggregation());
  run.privacy = configs::ToPrivacy(config.privacy());
  if (run.privacy.distributed()) {
    ASSIGN_OR_RETURN(const auto layout, PlanLayout(run.plan));
    ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(run.plan, run.schedule, layout));
    run.privacy.values = views.max_update_bytes() / sizeof(float);
  }
  return run;
}

std::int64_t StepsOf(const TrainSpec& train, std::size_t examples) {
  const auto batch_size = static_cast<std::size_t>(train.batch_size);
  const auto per_epoch = static_cast<std::int64_t>((examples + batch_size - 1) / batch_size);
  return train.epochs > 0 ? train.epochs * per_epoch : train.steps;
}

double LearningRateAt(const TrainSpec& train, std::uint32_t round, std::uint32_t total_rounds) {
  const double warmup = train.warmup_rounds, now = round, last = total_rounds;
  if (now <= warmup) return train.learning_rate * now / (warmup + 1);
  // From 0 in the first round after warm-up, which has the peak, to 1 in the last; a single such round has the peak.
  const double left = last - warmup - 1;
  const double progress = left > 0 ? std::clamp((now - warmup - 1) / left, 0.0, 1.0) : 0.0;
  double decay = 0;
  switch (train.schedule) {
    case TrainSpec::Schedule::kConstant:
      return train.learning_rate;
    case TrainSpec::Schedule::kLinear:
      decay = progress;
      break;
    case TrainSpec::Schedule::kCosine:
      decay = (1 - std::cos(std::numbers::pi * progress)) / 2;
      break;
  }
  return train.learning_rate * (1 - (1 - train.final_factor) * decay);
}

}  // namespace fedpeft
