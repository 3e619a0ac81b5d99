#include "configs/validate.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "configs/keys.h"
#include "configs/reader.h"
#include "tests/configs/rule.h"

namespace fedpeft::configs {
namespace {

using testing::ExpectReported;
using testing::Rule;
using testing::Sample;
using testing::SetAdaLora;
using testing::SetAdapter;

TEST(ValidateTest, AcceptsTheSample) {
  EXPECT_TRUE(Validate(Sample()).empty());
}

void SetLanguage(v1::RunConfig* config) {
  config->mutable_base()->set_model_type("gpt2");
  config->mutable_problem()->set_type(v1::Problem::LANGUAGE_MODELLING);
  config->mutable_problem()->clear_labels();
}

void SetPrompt(v1::RunConfig* config) {
  config->mutable_peft()->set_method(v1::Peft::PROMPT);
  FillDefaults({}, config->mutable_peft()->mutable_prompt());
  config->mutable_problem()->set_max_length(64);
}

class ValidateRuleTest : public ::testing::TestWithParam<Rule> {};

TEST_P(ValidateRuleTest, IsReportedAtItsKey) {
  ExpectReported(GetParam());
}

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
