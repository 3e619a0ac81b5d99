#include "configs/validate.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

#include "configs/keys.h"
#include "configs/loader.h"
#include "configs/reader.h"
#include "tests/configs/sample_run.h"

namespace fedpeft::configs {
namespace {

using testing::kSampleRun;

v1::RunConfig Sample() {
  Result<LoadedRun> run = LoadRunText(kSampleRun, "run.yaml");
  FEDPEFT_CHECK(run.ok());
  return run->config;
}

TEST(ValidateTest, AcceptsTheSample) {
  EXPECT_TRUE(Validate(Sample()).empty());
}

struct Rule {
  std::string name;
  std::function<void(v1::RunConfig*)> break_it;
  std::string path;
  /// Part of the message.
  std::string says;
};

void SetLanguage(v1::RunConfig* config) {
  config->mutable_base()->set_model_type("gpt2");
  config->mutable_problem()->set_type(v1::Problem::LANGUAGE_MODELLING);
  config->mutable_problem()->clear_labels();
}

v1::AdaLora* SetAdaLora(v1::RunConfig* config) {
  config->mutable_peft()->set_method(v1::Peft::ADALORA);
  FillDefaults({}, config->mutable_peft()->mutable_adalora());
  return config->mutable_peft()->mutable_adalora();
}

v1::Adapter* SetAdapter(v1::RunConfig* config) {
  config->mutable_peft()->set_method(v1::Peft::ADAPTER);
  FillDefaults({}, config->mutable_peft()->mutable_adapter());
  config->mutable_peft()->mutable_adapter()->set_size(4);
  return config->mutable_peft()->mutable_adapter();
}

void SetPrompt(v1::RunConfig* config) {
  config->mutable_peft()->set_method(v1::Peft::PROMPT);
  FillDefaults({}, config->mutable_peft()->mutable_prompt());
  config->mutable_problem()->set_max_length(64);
}

v1::SecureAggregation* SetSecure(v1::RunConfig* config) {
  for (v1::Phase& phase : *config->mutable_schedule()) {
    phase.mutable_participation()->set_cohort(10);
    phase.mutable_participation()->set_min_clients(5);
  }
  config->mutable_secure_aggregation()->set_mode(v1::SecureAggregation::PAIRWISE);
  return config->mutable_secure_aggregation();
}

/// Ten of a hundred clients are expected in a round.
v1::Privacy* SetPrivate(v1::RunConfig* config) {
  v1::Privacy& privacy = *config->mutable_privacy();
  privacy.set_mechanism(v1::Privacy::CENTRAL);
  privacy.set_population(100);
  config->mutable_schedule(0)->mutable_participation()->set_cohort(10);
  config->mutable_schedule(0)->mutable_reducer()->set_weights(v1::Reducer::UNIFORM);
  return &privacy;
}

void AddClipGroup(v1::RunConfig* config, const std::vector<std::string>& parts, double share) {
  v1::ClipGroup* group = config->mutable_privacy()->mutable_clip()->add_groups();
  for (const std::string& part : parts) group->add_parts(part);
  group->set_share(share);
}

/// As SetPrivate, the clients making the noise, all ten of them.
v1::Privacy* SetDistributed(v1::RunConfig* config) {
  SetSecure(config);
  v1::Privacy* privacy = SetPrivate(config);
  privacy->set_mechanism(v1::Privacy::DISTRIBUTED);
  privacy->set_accountant(v1::Privacy::RDP);
  privacy->set_population(10);
  return privacy;
}

/// Ten clients a round, each in at most one of four.
v1::Privacy* SetCorrelated(v1::RunConfig* config) {
  v1::Privacy* privacy = SetPrivate(config);
  privacy->set_mechanism(v1::Privacy::DP_FTRL);
  privacy->set_population(0);
  privacy->set_min_separation(4);
  while (config->schedule_size() > 1) config->mutable_schedule()->RemoveLast();
  return privacy;
}

class ValidateRuleTest : public ::testing::TestWithParam<Rule> {};

TEST_P(ValidateRuleTest, IsReportedAtItsKey) {
  v1::RunConfig config = Sample();
  GetParam().break_it(&config);
  const std::vector<Finding> findings = Validate(config);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.front().path, GetParam().path);
  EXPECT_NE(findings.front().message.find(GetParam().says), std::string::npos) << findings.front().message;
}

// What only a peer can send, and what YAML can say too.
INSTANTIATE_TEST_SUITE_P(
    Table, ValidateRuleTest,
    ::testing::Values(
        Rule{"MissingMessage", [](auto* c) { c->clear_train(); }, "train", "is missing"},
        Rule{"MissingDefault", [](auto* c) { c->mutable_train()->clear_beta1(); }, "train.beta1", "is missing"},
        Rule{"UnknownEnum", [](auto* c) { c->mutable_train()->set_optimizer(static_cast<v1::Train::Optimizer>(99)); },
             "train.optimizer", "got the unknown value 99, want adamw or sgd"},
        Rule{"UnspecifiedEnum",
             [](auto* c) { c->mutable_train()->set_optimizer(v1::Train::OPTIMIZER_UNSPECIFIED); }, "train.optimizer",
             "got the unknown value 0"},
        Rule{"UnknownField", [](auto* c) { c->mutable_peft()->GetReflection()->MutableUnknownFields(c->mutable_peft())->AddVarint(77, 1); },
             "peft", "not known here"},
        Rule{"NotFinite", [](auto* c) { c->mutable_train()->set_learning_rate(std::numeric_limits<double>::quiet_NaN()); },
             "train.learning_rate", "got nan"},
        Rule{"AboveMin", [](auto* c) { c->mutable_peft()->mutable_lora()->set_alpha(0); }, "peft.lora.alpha",
             "got 0, want a number, above 0, at most 1e+06"},
        Rule{"NoPhase", [](auto* c) { c->clear_schedule(); }, "schedule", "is missing or empty"},
        Rule{"TooManyPhases", [](auto* c) { for (int i = 0; i < 1000; ++i) *c->add_schedule() = c->schedule(0); },
             "schedule", "got 1001 phases"},
        Rule{"TooManyBytes", [](auto* c) { c->mutable_base()->set_name(std::string(4 << 20, 'x')); }, "", "bytes"},
        Rule{"Name", [](auto* c) { c->set_name("../x"); }, "name", "letters"},
        Rule{"HiddenName", [](auto* c) { c->set_name(".x"); }, "name", "letters"},
        Rule{"Digest", [](auto* c) { c->mutable_base()->set_weights_sha256(std::string(63, 'a') + "g"); },
             "base.weights_sha256", "64 hexadecimal digits"},
        Rule{"ControlCharacter", [](auto* c) { c->mutable_problem()->set_labels(1, "a\tb"); }, "problem.labels.1",
             "got \"a\\x09b\""},
        Rule{"OneLabel", [](auto* c) { c->mutable_problem()->mutable_labels()->DeleteSubrange(0, 2); },
             "problem.labels", "got 1 names"},
        Rule{"LabelsOfARegression", [](auto* c) { c->mutable_problem()->set_type(v1::Problem::REGRESSION); },
             "problem.labels", "got 3 names, want none"},
        Rule{"MetricOfAnotherProblem", [](auto* c) { c->mutable_evaluation()->set_metric(v1::Evaluation::PEARSON); },
             "evaluation.metric", "want auto, accuracy, macro_f1, matthews, loss"},
        Rule{"RanksOfTwoBoxes", [](auto* c) {
               c->mutable_problem()->set_type(v1::Problem::REGRESSION);
               c->mutable_problem()->clear_labels();
               c->mutable_evaluation()->set_metric(v1::Evaluation::SPEARMAN);
               c->mutable_evaluation()->set_min_evaluators(2);
             }, "evaluation.min_evaluators", "got 2 with metric spearman, want 1"},
        Rule{"LanguageOfAnEncoder", [](auto* c) {
               SetLanguage(c);
               c->mutable_base()->set_model_type("bert");
             }, "problem.type", "want a base that predicts the next token, which bert does not"},
        Rule{"PromptOfAClassification", [](auto* c) { c->mutable_problem()->set_prompt("{text}"); }, "problem.prompt",
             "which only language_modelling has"},
        Rule{"SumOfFour", [](auto* c) {
               SetSecure(c);
               c->mutable_schedule(0)->mutable_participation()->set_min_clients(4);
             }, "schedule.0.participation.min_clients", "got 4, want at least 5 under secure_aggregation"},
        Rule{"SecureBits", [](auto* c) { SetSecure(c)->set_bits("seven"); }, "secure_aggregation.bits",
             "got \"seven\", want auto, or 8 to 32"},
        Rule{"SecureBitsWithoutRoom", [](auto* c) { SetSecure(c)->set_bits("12"); }, "secure_aggregation.bits",
             "leave no value beside sums over 10 clients of weight 1000"},
        Rule{"SecureSumsWithoutRoom", [](auto* c) {
               SetSecure(c);
               c->mutable_schedule(0)->mutable_reducer()->set_max_weight(1000000000);
             }, "secure_aggregation.bits", "leave no value"},
        Rule{"SecureCrowd", [](auto* c) {
               SetSecure(c);
               c->mutable_limits()->set_max_clients(60000);
               c->mutable_schedule(0)->mutable_participation()->set_cohort(60000);
             }, "schedule.0.participation.cohort", "got 60000, want at most 10000 under secure_aggregation"},
        Rule{"PrivacyWithoutPopulation", [](auto* c) { SetPrivate(c)->set_population(0); }, "privacy.population",
             "is missing"},
        Rule{"PrivacyOfALargeDelta", [](auto* c) { SetPrivate(c)->mutable_budget()->set_delta(0.01); },
             "privacy.budget.delta", "1 / population or more"},
        Rule{"PrivacyOfNoNoise", [](auto* c) { SetPrivate(c)->set_noise_multiplier("much"); },
             "privacy.noise_multiplier", "want auto, or 0.01 to 1e6"},
        Rule{"PrivacyUnderMasks",
             [](auto* c) {
               SetPrivate(c);
               SetSecure(c);
               c->mutable_schedule(0)->mutable_participation()->set_min_clients(5);
             }, "secure_aggregation.mode", "want none with privacy.mechanism central"},
        Rule{"PrivacyOfWeights",
             [](auto* c) {
               SetPrivate(c);
               c->mutable_schedule(0)->mutable_reducer()->set_weights(v1::Reducer::EXAMPLES);
             }, "schedule.0.reducer.weights", "want uniform under privacy"},
        Rule{"PrivacyOfTheFastest",
             [](auto* c) {
               SetPrivate(c);
               c->mutable_schedule(0)->mutable_participation()->set_over_selection(0.5);
             }, "schedule.0.participation.over_selection", "who is in a round may not depend on who is fast"},
        Rule{"PrivacyOfEverybody",
             [](auto* c) {
               SetPrivate(c);
               c->mutable_schedule(0)->mutable_participation()->set_cohort(0);
             }, "schedule.0.participation.cohort", "want 1 to privacy.population"},
        Rule{"PrivacyOfASmallCap", [](auto* c) { SetPrivate(c)->set_max_cohort(5); }, "privacy.max_cohort",
             "want at least the cohort"},
        Rule{"PrivacyOfACapByRenyi",
             [](auto* c) {
               SetPrivate(c)->set_max_cohort(50);
               c->mutable_privacy()->set_accountant(v1::Privacy::RDP);
             }, "privacy.accountant", "want pld with max_cohort"},
        Rule{"PrivacyOfTwoClips",
             [](auto* c) {
               SetPrivate(c)->mutable_clip()->mutable_adaptive()->set_quantile(0.5);
               c->mutable_privacy()->mutable_clip()->set_norm(2);
             }, "privacy.clip.norm", "has no effect beside privacy.clip.adaptive"},
        Rule{"PrivacyOfALoudCount",
             [](auto* c) {
               v1::AdaptiveClip& adaptive = *SetPrivate(c)->mutable_clip()->mutable_adaptive();
               adaptive.set_quantile(0.5);
               adaptive.set_count_noise(0.5);
             },
             "privacy.clip.adaptive.count_noise", "or 2 or more"},
        Rule{"DistributedPrivacyInTheClear",
             [](auto* c) {
               SetDistributed(c);
               c->mutable_secure_aggregation()->set_mode(v1::SecureAggregation::NONE);
             }, "secure_aggregation.mode", "alone it hides nothing"},
        Rule{"DistributedPrivacyByLossDistributions",
             [](auto* c) { SetDistributed(c)->set_accountant(v1::Privacy::PLD); }, "privacy.accountant", "want rdp"},
        Rule{"DistributedPrivacyOfAdaptiveClip",
             [](auto* c) { SetDistributed(c)->mutable_clip()->mutable_adaptive()->set_quantile(0.5); },
             "privacy.clip.adaptive.quantile", "a release of its own"},
        Rule{"DistributedPrivacyWhoseVoidRoundsTell", [](auto* c) { SetDistributed(c)->set_population(100); },
             "schedule.0.participation.min_clients", "a round of too few is void"},
        Rule{"AdaLoraUnderPrivacy",
             [](auto* c) {
               SetPrivate(c);
               c->mutable_peft()->set_method(v1::Peft::ADALORA);
               c->mutable_peft()->clear_settings();
             }, "peft.method", "a release of their own"},
        Rule{"ExamplesOfAMethodWithoutTheirGradients",
             [](auto* c) {
               SetPrivate(c)->set_mechanism(v1::Privacy::EXAMPLE_LEVEL);
               c->mutable_privacy()->set_population(0);
               c->mutable_peft()->set_method(v1::Peft::FULL);
               c->mutable_peft()->clear_settings();
             }, "peft.method", "got the whole base"},
        Rule{"DistributedPrivacyWithARange",
             [](auto* c) {
               SetDistributed(c);
               c->mutable_secure_aggregation()->set_range(2);
             }, "secure_aggregation.range", "where the clip norm is the range"},
        Rule{"LocalPrivacyThatSwampsTheUpdate",
             [](auto* c) {
               SetPrivate(c)->set_mechanism(v1::Privacy::LOCAL);
               c->mutable_privacy()->set_population(0);
               c->mutable_privacy()->mutable_clip()->set_norm(0.01);
             }, "privacy.mechanism", "nothing would be learned"},
        Rule{"LocalPrivacyOfAPopulation", [](auto* c) { SetPrivate(c)->set_mechanism(v1::Privacy::LOCAL); },
             "privacy.population", "has no effect with privacy.mechanism local"},
        Rule{"LocalPrivacyOfAutomaticNoiseBeyondTheBound",
             [](auto* c) {
               SetPrivate(c)->set_mechanism(v1::Privacy::LOCAL);
               c->mutable_privacy()->set_population(0);
               c->mutable_privacy()->mutable_clip()->set_norm(2);
               c->mutable_schedule(0)->mutable_reducer()->set_max_abs(2.5);
             }, "schedule.0.reducer.max_abs", "the noise on it may reach"},
        Rule{"LocalPrivacyBeyondTheBound",
             [](auto* c) {
               SetPrivate(c)->set_mechanism(v1::Privacy::LOCAL);
               c->mutable_privacy()->set_population(0);
               c->mutable_privacy()->set_noise_multiplier("100");
             }, "schedule.0.reducer.max_abs", "the noise on it may reach"},
        Rule{"ClipGroupsBesideAnAdaptiveClip", [](auto* c) {
               SetPrivate(c)->mutable_clip()->mutable_adaptive()->set_quantile(0.5);
               AddClipGroup(c, {"head"}, 0.5);
             }, "privacy.clip.groups", "none beside privacy.clip.adaptive"},
        Rule{"ClipGroupsWithoutPrivacy", [](auto* c) { AddClipGroup(c, {"head"}, 0.5); }, "privacy.clip.groups",
             "have no effect with mechanism none"},
        Rule{"ClipGroupOfNoPart", [](auto* c) { SetPrivate(c); AddClipGroup(c, {"heart"}, 0.5); },
             "privacy.clip.groups", "parts: got \"heart\", want some of this method's parts"},
        Rule{"ClipGroupsOfOnePart", [](auto* c) {
               SetPrivate(c);
               AddClipGroup(c, {"head"}, 0.5);
               AddClipGroup(c, {"head"}, 0.25);
             }, "privacy.clip.groups", "a second time"},
        Rule{"ClipGroupsThatLeaveNothing", [](auto* c) { SetPrivate(c); AddClipGroup(c, {"head"}, 1); },
             "privacy.clip.groups", "parts that no group names have what is left"},
        Rule{"ClipGroupsOfTooMuch", [](auto* c) {
               SetPrivate(c);
               AddClipGroup(c, {"head"}, 0.75);
               AddClipGroup(c, {"lora_a", "lora_b"}, 0.5);
             }, "privacy.clip.groups", "of more than 1 together"},
        Rule{"ClipGroupOfNothing", [](auto* c) { SetPrivate(c); AddClipGroup(c, {}, 0.5); }, "privacy.clip.groups",
             "a group without parts"},
        Rule{"CorrelatedNoiseOfASample", [](auto* c) { SetCorrelated(c)->set_population(100); }, "privacy.population",
             "where nobody is sampled"},
        Rule{"CorrelatedNoiseOfACap", [](auto* c) { SetCorrelated(c)->set_max_cohort(20); }, "privacy.max_cohort",
             "where nobody is sampled"},
        Rule{"CorrelatedNoiseOfAdaptiveClip",
             [](auto* c) { SetCorrelated(c)->mutable_clip()->mutable_adaptive()->set_quantile(0.5); },
             "privacy.clip.adaptive.quantile", "made for the same norm in all rounds"},
        Rule{"CorrelatedNoiseOfAnyRounds", [](auto* c) { SetCorrelated(c)->set_min_separation(0); },
             "privacy.min_separation", "is missing"},
        Rule{"SeparationOfASample", [](auto* c) { SetPrivate(c)->set_min_separation(4); }, "privacy.min_separation",
             "has no effect but with mechanism dp_ftrl"},
        Rule{"SeparationWithoutPrivacy", [](auto* c) { c->mutable_privacy()->set_min_separation(4); },
             "privacy.min_separation", "has no effect with mechanism none"},
        Rule{"CorrelatedNoiseOfTwoPhases",
             [](auto* c) {
               SetCorrelated(c);
               *c->add_schedule() = c->schedule(0);
             }, "schedule", "got 2 phases, want one"},
        Rule{"CorrelatedNoiseOfTwoViews",
             [](auto* c) {
               SetCorrelated(c);
               for (int i = 0; i < 2; ++i) c->mutable_schedule(0)->add_views()->add_layers(i);
             }, "schedule.0.views", "want at most one"},
        Rule{"CorrelatedNoiseOfEverybody",
             [](auto* c) {
               SetCorrelated(c);
               c->mutable_schedule(0)->mutable_participation()->set_cohort(0);
             }, "schedule.0.participation.cohort", "the mean is over so many"},
        Rule{"CorrelatedNoiseOfMoreThanTheCohort",
             [](auto* c) {
               SetCorrelated(c);
               c->mutable_schedule(0)->mutable_participation()->set_min_clients(11);
             }, "schedule.0.participation.min_clients", "want at most the cohort (10)"},
        Rule{"CorrelatedNoiseOfTheFastest",
             [](auto* c) {
               SetCorrelated(c);
               c->mutable_schedule(0)->mutable_participation()->set_over_selection(0.5);
             }, "schedule.0.participation.over_selection", "who is fast"},
        Rule{"CorrelatedNoiseOfWeights",
             [](auto* c) {
               SetCorrelated(c);
               c->mutable_schedule(0)->mutable_reducer()->set_weights(v1::Reducer::EXAMPLES);
             }, "schedule.0.reducer.weights", "want uniform"},
        Rule{"CorrelatedNoiseUnderMasks",
             [](auto* c) {
               SetCorrelated(c);
               SetSecure(c);
             }, "secure_aggregation.mode", "want none with privacy.mechanism central or dp_ftrl"},
        Rule{"CorrelatedNoiseOfFewClients",
             [](auto* c) {
               SetCorrelated(c);
               c->mutable_schedule(0)->mutable_participation()->set_min_clients(10);
               c->mutable_schedule(0)->set_rounds(100);
               c->mutable_limits()->set_max_clients(39);
             }, "limits.max_clients", "want at least 40"},
        Rule{"CorrelatedNoiseOfALargeDelta", [](auto* c) { SetCorrelated(c)->mutable_budget()->set_delta(0.1); },
             "privacy.budget.delta", "is 1 / (cohort"},
        Rule{"PrivacyOfNoMechanism", [](auto* c) { c->mutable_privacy()->mutable_budget()->set_epsilon(2); },
             "privacy.budget.epsilon", "has no effect with mechanism none"},
        Rule{"NoThreshold", [](auto* c) { SetSecure(c)->set_max_drop_out(0.9); }, "secure_aggregation", "threshold"},
        Rule{"ThreatWithoutMasks",
             [](auto* c) { c->mutable_secure_aggregation()->set_threat(v1::SecureAggregation::CURIOUS); },
             "secure_aggregation.threat", "has no effect with mode none"},
        Rule{"MetricsBesideTheSum", [](auto* c) {
               SetSecure(c);
               c->mutable_peft()->set_head(v1::Peft::LOCAL);
               c->mutable_evaluation()->set_min_evaluators(1);
             }, "evaluation.min_evaluators", "each beside the sum, want 0 under secure_aggregation"},
        Rule{"OddBrace", [](auto* c) {
               SetLanguage(c);
               c->mutable_problem()->set_response("{text");
             }, "problem.response", "odd brace at byte 1"},
        Rule{"PromptWithoutResponse", [](auto* c) {
               SetLanguage(c);
               c->mutable_problem()->set_prompt("{text}");
             }, "problem.response", "is missing beside problem.prompt"},
        Rule{"HeadOfALanguageModel", [](auto* c) {
               SetLanguage(c);
               c->mutable_peft()->set_head(v1::Peft::FROZEN);
             }, "peft.head", "of language modelling"},
        Rule{"TextColumnBesideResponse", [](auto* c) {
               SetLanguage(c);
               c->mutable_problem()->set_text_column("body");
               c->mutable_problem()->set_response("{body}");
             }, "problem.text_column", "beside problem.response"},
        Rule{"BraceInATextColumn", [](auto* c) {
               SetLanguage(c);
               c->mutable_problem()->set_text_column("a}b");
             }, "problem.text_column", "without braces"},
        Rule{"SameLabel", [](auto* c) { c->mutable_problem()->set_labels(2, "no"); }, "problem.labels.2",
             "a second time"},
        Rule{"EmptyLabel", [](auto* c) { c->mutable_problem()->set_labels(0, ""); }, "problem.labels.0", "got \"\""},
        Rule{"SameColumn", [](auto* c) { c->mutable_problem()->set_label_column("text"); }, "problem.label_column",
             "other than problem.text_column"},
        Rule{"SamePairColumn", [](auto* c) { c->mutable_problem()->set_text_pair_column("label"); },
             "problem.text_pair_column", "of its own"},
        Rule{"TooLong", [](auto* c) { c->mutable_problem()->set_max_length(129); }, "problem.max_length",
             "want at most 128 (base.max_position_embeddings less base.position_offset)"},
        Rule{"EpochsAndSteps", [](auto* c) { c->mutable_train()->set_steps(3); }, "train.epochs", "exactly one"},
        Rule{"NeitherEpochsNorSteps", [](auto* c) { c->mutable_train()->set_epochs(0); }, "train.epochs", "exactly one"},
        Rule{"WarmupBeyondRun", [](auto* c) { c->mutable_train()->mutable_schedule()->set_warmup_rounds(4); },
             "train.schedule.warmup_rounds", "at most the run's 3 rounds"},
        Rule{"MinClientsAboveCohort",
             [](auto* c) {
               c->mutable_schedule(0)->mutable_participation()->set_cohort(2);
               c->mutable_schedule(0)->mutable_participation()->set_min_clients(3);
             },
             "schedule.0.participation.min_clients", "want at most the cohort (2)"},
        Rule{"CohortAboveMaxClients", [](auto* c) { c->mutable_schedule(0)->mutable_participation()->set_cohort(10001); },
             "schedule.0.participation.cohort", "limits.max_clients (10000)"},
        Rule{"OverSelectionOfAll",
             [](auto* c) { c->mutable_schedule(0)->mutable_participation()->set_over_selection(0.5); },
             "schedule.0.participation.over_selection", "without a cohort"},
        // 62 - ceil(log2(1024 * 1e6 * 1e4)) = 62 - 44.
        Rule{"CoarseGrid", [](auto* c) { c->mutable_schedule(0)->mutable_reducer()->set_max_abs(1024); },
             "schedule.0.reducer", "leave 18 fractional bits to the sum over 10000 clients"},
        Rule{"PatienceWithoutEvaluation",
             [](auto* c) {
               c->mutable_evaluation()->set_every(0);
               c->mutable_evaluation()->set_patience(2);
             },
             "evaluation.patience", "evaluation.every is 0"},
        Rule{"RankTooLarge", [](auto* c) { c->mutable_peft()->mutable_lora()->set_rank(13); }, "peft.lora.rank",
             "want at most 12"},
        Rule{"SettingsOfAnotherMethod", [](auto* c) { c->mutable_peft()->set_method(v1::Peft::IA3); }, "peft.lora",
             "want method: lora with them (peft.method is ia3)"},
        Rule{"MaxLengthBehindAPrompt",
             [](auto* c) {
               c->mutable_peft()->set_method(v1::Peft::PROMPT);
               FillDefaults({}, c->mutable_peft()->mutable_prompt());
               c->mutable_problem()->set_max_length(static_cast<std::uint32_t>(c->base().max_position_embeddings()));
             },
             "problem.max_length", "and the method's virtual tokens"},
        Rule{"EncoderSizeWithoutEncoder",
             [](auto* c) {
               SetPrompt(c);
               c->mutable_peft()->mutable_prompt()->set_encoder_size(8);
             },
             "peft.prompt.encoder_size", "no effect with encoder none"},
        Rule{"PrefixEncoderSizeWithoutEncoder",
             [](auto* c) {
               SetPrompt(c);
               c->mutable_peft()->set_method(v1::Peft::PREFIX);
               FillDefaults({}, c->mutable_peft()->mutable_prefix());
               c->mutable_peft()->mutable_prefix()->set_encoder_size(8);
             },
             "peft.prefix.encoder_size", "no effect with encoder none"},
        Rule{"InitTextOfARandomPrompt",
             [](auto* c) {
               SetPrompt(c);
               c->mutable_peft()->mutable_prompt()->set_init_text("a text");
             },
             "peft.prompt.init_text", "no effect without init text"},
        Rule{"NoInitText",
             [](auto* c) {
               SetPrompt(c);
               c->mutable_peft()->mutable_prompt()->set_init(v1::Prompt::TEXT);
             },
             "peft.prompt.init_text", "is missing beside init text"},
        Rule{"EncoderOfAPromptFromTheVocabulary",
             [](auto* c) {
               SetPrompt(c);
               c->mutable_peft()->mutable_prompt()->set_init(v1::Prompt::VOCABULARY);
               c->mutable_peft()->mutable_prompt()->set_encoder(v1::Prefix::MLP);
             },
             "peft.prompt.encoder", "with a start from the base's tokens"},
        Rule{"LlamaAdapterOfAnEncoder",
             [](auto* c) {
               c->mutable_peft()->set_method(v1::Peft::LLAMA_ADAPTER);
               FillDefaults({}, c->mutable_peft()->mutable_llama_adapter());
             },
             "peft.method", "this bert base is an encoder"},
        Rule{"UnknownTarget", [](auto* c) { c->mutable_peft()->mutable_lora()->add_target_modules("q_proj"); },
             "peft.lora.target_modules", "known names"},
        Rule{"ModelType", [](auto* c) { c->mutable_base()->set_model_type("mamba"); }, "base.model_type", "bert"},
        Rule{"HugeBase", [](auto* c) { c->mutable_base()->set_num_hidden_layers(std::int64_t{1} << 62); },
             "base.num_hidden_layers", "want 1 to 1024"},
        Rule{"WindowBelowUpdate",
             [](auto* c) {
               c->mutable_limits()->set_upload_window_bytes(1 << 20);
               c->mutable_base()->set_hidden_size(12288);
               c->mutable_base()->set_intermediate_size(24);
             },
             "limits.upload_window_bytes", "at least one update's"},
        Rule{"ViewsThatNeverCome",
             [](auto* c) {
               c->mutable_schedule(0)->set_rounds(1);
               c->mutable_schedule(0)->add_views();
               c->mutable_schedule(0)->add_views();
             },
             "schedule.0.views", "would never come"},
        Rule{"ViewOfUnknownPart", [](auto* c) { c->mutable_schedule(0)->add_views()->add_frozen("lora_x"); },
             "schedule.0.views.0.frozen", "lora_a, lora_b, head"},
        Rule{"RanksWithoutTimeToFall",
             [](auto* c) { SetAdaLora(c)->set_final_rounds(1000); }, "peft.adalora.warmup_rounds", "fewer than"},
        Rule{"ScoresBeyondTheBound",
             [](auto* c) {
               SetAdaLora(c);
               c->mutable_schedule(0)->mutable_reducer()->set_max_abs(0.5);
             },
             "schedule.0.reducer.max_abs", "with adalora"},
        Rule{"RankOfPlainAdapters", [](auto* c) { SetAdapter(c)->set_phm_rank(2); }, "peft.adapter.phm_rank",
             "got 2, which has no effect with phm_dim 0"},
        Rule{"CompacterOfOddSize", [](auto* c) { SetAdapter(c)->set_phm_dim(5); }, "peft.adapter.phm_dim",
             "got 5, want a divisor of"},
        Rule{"MomentumOfAdamW", [](auto* c) { c->mutable_train()->set_momentum(0.9); }, "train.momentum",
             "got 0.9, which has no effect with optimizer adamw"},
        Rule{"TauOfFedAvg", [](auto* c) { c->mutable_schedule(0)->mutable_server_optimizer()->set_tau(0.1); },
             "schedule.0.server_optimizer.tau", "no effect with kind fedavg"},
        Rule{"FinalFactorOfConstant", [](auto* c) { c->mutable_train()->mutable_schedule()->set_final_factor(0.1); },
             "train.schedule.final_factor", "no effect with kind constant"}),
    [](const auto& test) { return test.param.name; });

TEST(ValidateTest, AcceptsSecureAggregationOfEveryMethod) {
  v1::RunConfig config = Sample();
  SetSecure(&config);
  EXPECT_TRUE(Validate(config).empty());
  SetAdaLora(&config);
  EXPECT_TRUE(Validate(config).empty());
  SetAdapter(&config);
  EXPECT_TRUE(Validate(config).empty());
}

TEST(ValidateTest, AcceptsCorrelatedNoise) {
  v1::RunConfig config = Sample();
  SetCorrelated(&config);
  for (const Finding& finding : Validate(config)) ADD_FAILURE() << finding.path << ": " << finding.message;
}

TEST(ValidateTest, FindsAllAtOnce) {
  v1::RunConfig config = Sample();
  config.set_name("a b");
  config.mutable_problem()->set_labels(2, "no");
  config.mutable_train()->set_steps(3);
  EXPECT_EQ(Validate(config).size(), 3u);
}

/// The loader, the checks and the table read the options; a field without one would be silently unchecked.
void ExpectDocumented(const google::protobuf::Descriptor& type) {
  for (int i = 0; i < type.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *type.field(i);
    EXPECT_FALSE(KeyOf(field).help().empty()) << field.full_name();
    EXPECT_TRUE(field.is_repeated() || field.has_presence()) << field.full_name();
    if (field.message_type() != nullptr) {
      ExpectDocumented(*field.message_type());
    } else if (!field.is_repeated() && field.cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
      EXPECT_NE(KeyOf(field).required(), !KeyOf(field).default_value().empty()) << field.full_name();
    }
  }
}

TEST(SchemaTest, EveryKeyIsDocumentedAndHasADefaultOrIsRequired) {
  ExpectDocumented(*v1::RunConfig::descriptor());
  ExpectDocumented(*v1::Policy::descriptor());
}

}  // namespace
}  // namespace fedpeft::configs
