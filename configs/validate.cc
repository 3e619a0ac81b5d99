#include "configs/validate.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "aggregation/integer_sum.h"
#include "aggregation/reducer.h"
#include "configs/clip_groups.h"
#include "configs/keys.h"
#include "configs/rules.h"
#include "configs/secure.h"
#include "configs/template.h"
#include "configs/translate.h"
#include "configs/views.h"
#include "peft/plan/plan.h"
#include "peft/plan/sites.h"
#include "proto/limits.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

class RunRules {
 public:
  explicit RunRules(const v1::RunConfig& config) : config_(config) {}

  std::vector<Finding> Check() {
    CheckMethod();
    if (!rules_.findings().empty()) return rules_.Take();  // what follows would read settings that are not there
    CheckRun();
    CheckBase();
    CheckProblem();
    CheckTrain();
    CheckSchedule();
    CheckEvaluation();
    CheckSecureAggregation(config_, rules_);
    CheckPrivacy(config_, rules_);
    CheckVirtualTokens();
    CheckPlan();
    CheckEffectless();
    return rules_.Take();
  }

 private:
  void CheckRun() {
    Require(config_.ByteSizeLong() <= kMaxRunBytes, "",
            "has " + std::to_string(config_.ByteSizeLong()) + " bytes, want at most " + std::to_string(kMaxRunBytes));
    const std::string& name = config_.name();
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    });
    Require(plain && !name.empty() && name.size() <= kMaxNameBytes && name.front() != '.', "name",
            "got " + Quoted(name) + ", want 1 to " + std::to_string(kMaxNameBytes) +
                " letters, digits, '-', '_' or '.', not a '.' first (it names files)");
  }

  void CheckBase() {
    CheckText("base.name", config_.base().name(), /*may_be_empty=*/true);
    CheckDigest("base.weights_sha256", config_.base().weights_sha256());
    CheckDigest("base.tokenizer_sha256", config_.base().tokenizer_sha256());
  }

  void CheckDigest(const std::string& path, const std::string& text) {
    Require(DigestFromHex(text).has_value(), path,
            "got " + Quoted(text) + ", want 64 hexadecimal digits (print them with fedpeft-client inspect)");
  }

  /// Texts are logged, stored and written into tables: no control characters.
  void CheckText(const std::string& path, const std::string& text, bool may_be_empty) {
    const bool clean = std::none_of(text.begin(), text.end(),
                                    [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    Require(clean && text.size() <= kMaxTextBytes && (may_be_empty || !text.empty()), path,
            "got " + Quoted(text) + ", want " + (may_be_empty ? "at most " : "1 to ") + std::to_string(kMaxTextBytes) +
                " bytes without control characters");
  }

  void CheckProblem() {
    const v1::Problem& problem = config_.problem();
    CheckLabels(problem);
    CheckTemplates(problem);
    CheckText("problem.text_column", problem.text_column(), /*may_be_empty=*/false);
    CheckText("problem.label_column", problem.label_column(), /*may_be_empty=*/false);
    CheckText("problem.text_pair_column", problem.text_pair_column(), /*may_be_empty=*/true);
    Require(problem.label_column() != problem.text_column(), "problem.label_column",
            "got " + Quoted(problem.label_column()) + ", want a column other than problem.text_column");
    Require(problem.text_pair_column() != problem.text_column() && problem.text_pair_column() != problem.label_column(),
            "problem.text_pair_column",
            "got " + Quoted(problem.text_pair_column()) + ", want a column of its own or nothing");
    const PeftPlan plan = ToPlan(config_);
    const std::int64_t virtual_tokens = LeadOf(plan.method).positions();
    const std::int64_t longest = plan.base.longest() - virtual_tokens;
    Require(problem.max_length() <= longest, "problem.max_length",
            "got " + std::to_string(problem.max_length()) + ", want at most " + std::to_string(longest) +
                " (base.max_position_embeddings less base.position_offset" +
                (virtual_tokens > 0 ? " and the method's virtual tokens)" : ")"));
  }

  void CheckTemplates(const v1::Problem& problem) {
    const bool language = problem.type() == v1::Problem::LANGUAGE_MODELLING;
    Require(!language || PredictsNextToken(ToPlan(config_).base), "problem.type",
            "got language_modelling, want a base that predicts the next token, which " + config_.base().model_type() +
                " does not");
    if (language) {
      RequireDefaults("problem", problem, {"text_pair_column", "label_column"}, "of language modelling");
      RequireDefaults("peft", config_.peft(), {"head"}, "of language modelling");
      const std::string whole = "{" + problem.text_column() + "}";
      if (problem.response().empty()) {
        Require(TextTemplate::Parse(whole).ok(), "problem.text_column",
                "got " + Quoted(problem.text_column()) + ", want a name without braces");
      } else {
        RequireDefaults("problem", problem, {"text_column"}, "beside problem.response");
      }
    }
    for (const auto& [path, text] :
         {std::pair("problem.prompt", problem.prompt()), std::pair("problem.response", problem.response())}) {
      Require(language || text.empty(), path, "got a template, which only language_modelling has (leave the key out)");
      const Result<TextTemplate> parsed = TextTemplate::Parse(text);
      Require(parsed.ok(), path, parsed.ok() ? "" : parsed.status().message());
    }
    Require(problem.prompt().empty() || !problem.response().empty(), "problem.response",
            "is missing beside problem.prompt, want what is learned after it, such as \" {answer}</s>\"");
  }

  void CheckLabels(const v1::Problem& problem) {
    const auto labels = static_cast<std::size_t>(problem.labels_size());
    if (problem.type() != v1::Problem::SEQUENCE_CLASSIFICATION) {
      Require(labels == 0, "problem.labels",
              "got " + std::to_string(labels) + " names, want none of a problem without classes (leave the key out)");
      return;
    }
    Require(labels >= 2 && labels <= kMaxLabels, "problem.labels",
            "got " + std::to_string(labels) + " names, want 2 to " + std::to_string(kMaxLabels));
    std::set<std::string_view> seen;
    for (int i = 0; i < problem.labels_size(); ++i) {
      const std::string path = "problem.labels." + std::to_string(i);
      CheckText(path, problem.labels(i), /*may_be_empty=*/false);
      Require(seen.insert(problem.labels(i)).second, path,
              "got " + Quoted(problem.labels(i)) + " a second time, want each name once");
    }
  }

  void CheckTrain() {
    const v1::Train& train = config_.train();
    Require((train.epochs() > 0) != (train.steps() > 0), "train.epochs",
            "got epochs " + std::to_string(train.epochs()) + " and steps " + std::to_string(train.steps()) +
                ", want exactly one of them above 0 (set epochs: 0 to count steps)");
    Require(train.schedule().warmup_rounds() <= TotalRounds(), "train.schedule.warmup_rounds",
            "got " + std::to_string(train.schedule().warmup_rounds()) + ", want at most the run's " +
                std::to_string(TotalRounds()) + " rounds");
  }

  std::uint64_t TotalRounds() const {
    std::uint64_t rounds = 0;
    for (const v1::Phase& phase : config_.schedule()) rounds += phase.rounds();
    return rounds;
  }

  void CheckSchedule() {
    Require(config_.schedule_size() > 0, "schedule", "is empty, want a phase");
    Require(static_cast<std::size_t>(config_.schedule_size()) <= kMaxPhases, "schedule",
            "got " + std::to_string(config_.schedule_size()) + " phases, want at most " + std::to_string(kMaxPhases));
    const std::vector<PhaseSpec> schedule = ToSchedule(config_);
    for (int i = 0; i < config_.schedule_size(); ++i) {
      const std::string path = "schedule." + std::to_string(i);
      CheckParticipation(path + ".participation", config_.schedule(i).participation());
      const bool masked = config_.secure_aggregation().mode() == v1::SecureAggregation::PAIRWISE;
      if (!masked) CheckGrid(path + ".reducer", schedule[static_cast<std::size_t>(i)]);
      const auto views = static_cast<std::uint32_t>(config_.schedule(i).views_size());
      Require(views <= config_.schedule(i).rounds(), path + ".views",
              "got " + std::to_string(views) + " for " + std::to_string(config_.schedule(i).rounds()) +
                  " rounds, want at most as many (the others would never come)");
    }
  }

  void CheckParticipation(const std::string& path, const v1::Participation& participation) {
    const std::uint32_t cohort = participation.cohort();
    const std::uint32_t max_clients = config_.limits().max_clients();
    Require(
        cohort <= max_clients, path + ".cohort",
        "got " + std::to_string(cohort) + ", want at most limits.max_clients (" + std::to_string(max_clients) + ")");
    const std::uint32_t most = cohort > 0 ? cohort : max_clients;
    const bool drawn = ToPrivacy(config_.privacy()).sampled();  // any number may be in a round
    Require(drawn || participation.min_clients() <= most, path + ".min_clients",
            "got " + std::to_string(participation.min_clients()) + ", want at most " +
                (cohort > 0 ? "the cohort (" : "limits.max_clients (") + std::to_string(most) + ")");
    Require(cohort > 0 || participation.over_selection() == 0, path + ".over_selection",
            "got a share of extra clients without a cohort, want 0 (or a fixed cohort)");
  }

  /// The grid of the sum over all clients of a round is fine enough.
  void CheckGrid(const std::string& path, const PhaseSpec& phase) {
    const ReducerSpec& reducer = phase.reducer;
    const std::uint64_t clients = aggregation::MaxContributions(phase.cohort, config_.limits().max_clients());
    const bool uniform = reducer.weights == ReducerSpec::Weights::kUniform;
    const Result<int> bits = aggregation::GridExponent({reducer.max_abs, uniform ? 1 : reducer.max_weight, clients});
    if (!bits.ok()) {
      rules_.Require(false, path, bits.status().message());
      return;
    }
    Require(*bits >= kMinFractionalBits, path,
            "max_abs and max_weight leave " + std::to_string(*bits) + " fractional bits to the sum over " +
                std::to_string(clients) + " clients, want at least " + std::to_string(kMinFractionalBits) +
                " (lower one of them, or the number of clients)");
  }

  void CheckEvaluation() {
    const v1::Evaluation& evaluation = config_.evaluation();
    Require(evaluation.every() > 0 || evaluation.patience() == 0, "evaluation.patience",
            "got " + std::to_string(evaluation.patience()) + " while evaluation.every is 0, want 0 (or evaluations)");
    if (evaluation.metric() == v1::Evaluation::AUTO) return;
    std::string known;
    bool counted = false;
    for (const Metric metric : MetricsFor(config_.problem())) {
      known.append(known.empty() ? "" : ", ").append(MetricName(metric));
      counted = counted || static_cast<int>(metric) + 1 == evaluation.metric();
    }
    Require(counted, "evaluation.metric", "is not told by this problem's evaluations, want auto, " + known);
    Require(evaluation.metric() != v1::Evaluation::SPEARMAN || evaluation.min_evaluators() <= 1,
            "evaluation.min_evaluators",
            "got " + std::to_string(evaluation.min_evaluators()) +
                " with metric spearman, want 1 (ranks do not add: one box has to hold the evaluation data)");
  }

  /// A prompt's start has what it needs, and no encoder is left without an effect.
  void CheckVirtualTokens() {
    const v1::Peft& peft = config_.peft();
    if (peft.has_prefix() && peft.prefix().encoder() == v1::Prefix::NONE) {
      RequireDefaults("peft.prefix", peft.prefix(), {"encoder_size"}, "with encoder none");
    }
    if (!peft.has_prompt()) return;
    const v1::Prompt& prompt = peft.prompt();
    if (prompt.encoder() == v1::Prefix::NONE) {
      RequireDefaults("peft.prompt", prompt, {"encoder_size"}, "with encoder none");
    }
    if (prompt.init() != v1::Prompt::TEXT) {
      RequireDefaults("peft.prompt", prompt, {"init_text"}, "without init text");
    } else {
      Require(!prompt.init_text().empty(), "peft.prompt.init_text",
              "is missing beside init text, want the text to start from");
    }
  }

  /// The settings are those of the method.
  void CheckMethod() {
    const v1::Peft& peft = config_.peft();
    const auto& oneof = *v1::Peft::descriptor()->FindOneofByName("settings");
    const auto* given = peft.GetReflection()->GetOneofFieldDescriptor(peft, &oneof);
    const std::string method = ScalarText(peft, *v1::Peft::descriptor()->FindFieldByName("method"));
    if (given == nullptr || given->name() == method) return;
    rules_.Require(false, "peft." + given->name(),
                   "got settings of method " + given->name() + ", want method: " + given->name() +
                       " with them (peft.method is " + method + ")");
  }

  /// Whether planning succeeds, and one update fits the window that uploads share.
  void CheckPlan() {
    const PeftPlan plan = ToPlan(config_);
    const Result<std::shared_ptr<const ParamLayout>> layout = PlanLayout(plan);
    if (!layout.ok()) {
      AddPlanError(layout.status().message());
      return;
    }
    if (const auto* adalora = std::get_if<AdaLoraConfig>(&plan.method)) CheckRanks(*adalora);
    const Result<RunViews> views = RunViews::Make(plan, ToSchedule(config_), *layout);
    if (!views.ok()) {
      AddPlanError(views.status().message());
      return;
    }
    const Status groups = CheckClipGroups(ToPrivacy(config_.privacy()), **layout);
    Require(groups.ok(), "privacy.clip.groups", std::string(groups.message()));
    CheckUploads(*views);
  }

  void CheckUploads(const RunViews& views) {
    RunSpec run;
    run.schedule = ToSchedule(config_);
    run.limits.max_clients = config_.limits().max_clients();
    run.secure = ToSecureAggregation(config_.secure_aggregation());
    run.privacy = ToPrivacy(config_.privacy());
    std::uint64_t bytes = views.max_update_bytes();
    run.privacy.values = bytes / sizeof(float);
    if (run.secure.on) {
      const Result<std::uint64_t> longest = LongestSecureVector(run, bytes / sizeof(float));
      if (longest.ok()) bytes = *longest;  // else CheckSecureAggregation says why
    }
    const bool guarded = run.secure.on || run.privacy.on();
    Require(!guarded || !views.any_personal() || config_.evaluation().min_evaluators() == 0,
            "evaluation.min_evaluators",
            "got " + std::to_string(config_.evaluation().min_evaluators()) +
                " where only clients could evaluate what is their own, each beside the sum, want 0 under " +
                (run.secure.on ? "secure_aggregation" : "privacy"));
    if (run.privacy.own() && !run.privacy.hides_examples()) CheckHiddenUpdates(run, run.privacy.values, rules_);
    Require(bytes <= config_.limits().upload_window_bytes(), "limits.upload_window_bytes",
            "got " + std::to_string(config_.limits().upload_window_bytes()) + ", want at least one update's " +
                std::to_string(bytes));
  }

  void CheckRanks(const AdaLoraConfig& adalora) {
    const std::uint64_t still = std::uint64_t{adalora.warmup_rounds} + adalora.final_rounds;
    Require(still < TotalRounds(), "peft.adalora.warmup_rounds",
            "got " + std::to_string(still) + " rounds together with final_rounds, want fewer than the run's " +
                std::to_string(TotalRounds()));
    for (int i = 0; i < config_.schedule_size(); ++i) {
      Require(config_.schedule(i).reducer().max_abs() >= 1, "schedule." + std::to_string(i) + ".reducer.max_abs",
              "is below 1, want at least that with adalora (its scores are shares of one)");
    }
  }

  /// Planning names the key first, as in `peft.lora.rank: got …`.
  void AddPlanError(const std::string& message) {
    const std::size_t colon = message.find(": ");
    for (const std::string_view top : {"base.", "problem.", "peft.", "schedule."}) {
      if (colon != std::string::npos && message.starts_with(top)) {
        rules_.Require(false, message.substr(0, colon), message.substr(colon + 2));
        return;
      }
    }
    rules_.Require(false, "peft", message);
  }

  /// Settings that do nothing beside others are refused here, so that nobody believes in them.
  void CheckEffectless() {
    const v1::Train& train = config_.train();
    if (train.optimizer() == v1::Train::ADAMW) {
      RequireDefaults("train", train, {"momentum"}, "with optimizer adamw");
    } else {
      RequireDefaults("train", train, {"beta1", "beta2", "epsilon"}, "with optimizer sgd");
    }
    if (train.schedule().kind() == v1::LearningRateSchedule::CONSTANT) {
      RequireDefaults("train.schedule", train.schedule(), {"final_factor"}, "with kind constant");
    }
    if (config_.peft().has_adapter() && config_.peft().adapter().phm_dim() == 0) {
      RequireDefaults("peft.adapter", config_.peft().adapter(), {"phm_rank"}, "with phm_dim 0");
    }
    for (int i = 0; i < config_.schedule_size(); ++i) {
      CheckServerOptimizer("schedule." + std::to_string(i) + ".server_optimizer",
                           config_.schedule(i).server_optimizer());
    }
  }

  void CheckServerOptimizer(const std::string& path, const v1::ServerOptimizer& optimizer) {
    switch (optimizer.kind()) {
      case v1::ServerOptimizer::FEDAVG:
        RequireDefaults(path, optimizer, {"beta1", "beta2", "tau"}, "with kind fedavg");
        break;
      case v1::ServerOptimizer::FEDAVGM:
        RequireDefaults(path, optimizer, {"beta2", "tau"}, "with kind fedavgm");
        break;
      case v1::ServerOptimizer::FEDADAGRAD:
        RequireDefaults(path, optimizer, {"beta2"}, "with kind fedadagrad");
        break;
      default:
        break;
    }
  }

  void Require(bool holds, std::string path, std::string message) {
    rules_.Require(holds, std::move(path), std::move(message));
  }
  void RequireDefaults(const std::string& path, const google::protobuf::Message& message,
                       std::initializer_list<const char*> keys, const std::string& where) {
    rules_.RequireDefaults(path, message, keys, where);
  }

  const v1::RunConfig& config_;
  Rules rules_;
};

}  // namespace

std::vector<Finding> Validate(const v1::RunConfig& config) {
  std::vector<Finding> findings;
  CheckFields(config, &findings);
  if (!findings.empty()) return findings;
  return RunRules(config).Check();
}

}  // namespace fedpeft::configs
