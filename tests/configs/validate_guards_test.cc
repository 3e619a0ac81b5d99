// The rules of what guards a run: secure aggregation and differential privacy.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/configs/rule.h"

namespace fedpeft::configs {
namespace {

using testing::ExpectReported;
using testing::Rule;
using testing::Sample;
using testing::SetAdaLora;
using testing::SetAdapter;

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

class GuardRuleTest : public ::testing::TestWithParam<Rule> {};

TEST_P(GuardRuleTest, IsReportedAtItsKey) {
  ExpectReported(GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Table, GuardRuleTest,
    ::testing::Values(
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
             }, "evaluation.min_evaluators", "each beside the sum, want 0 under secure_aggregation"}),
    [](const auto& tested) { return tested.param.name; });

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

}  // namespace
}  // namespace fedpeft::configs
