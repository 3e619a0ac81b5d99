// The rules of what guards a run: secure aggregation and differential privacy.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "configs/privacy.h"
#include "configs/rules.h"
#include "configs/secure.h"
#include "configs/translate.h"
#include "peft/plan/method.h"
#include "privacy/secagg/parameters.h"
#include "privacy/secagg/ring.h"
#include "proto/run_config.pb.h"

namespace fedpeft::configs {

namespace {

/// Standard deviations that noise may be beyond a value and still be taken.
constexpr double kReachOfNoise = 8;
/// Times the length of an update.
constexpr int kMostNoise = 20;

void CheckSecurePhase(const std::string& path, const RunSpec& run, const PhaseSpec& phase, Rules& rules) {
  const std::string key = path + ".participation";
  rules.Require(phase.min_clients >= privacy::kFewestClients, key + ".min_clients",
                "got " + std::to_string(phase.min_clients) + ", want at least " +
                    std::to_string(privacy::kFewestClients) +
                    " under secure_aggregation (a sum of fewer says too much about each)");
  const std::uint32_t most = MostInRound(run, phase);
  rules.Require(most <= kMaxSecureClients, phase.cohort > 0 ? key + ".cohort" : "limits.max_clients",
                "got " + std::to_string(most) + ", want at most " + std::to_string(kMaxSecureClients) +
                    " under secure_aggregation");
  rules.Require(RingBudgetOf(run, phase).ok(), "secure_aggregation.bits",
                "leave no value beside sums over " + std::to_string(most) + " clients of weight " +
                    std::to_string(phase.reducer.max_weight) + " (raise it, set a smaller cohort or " +
                    "limits.max_clients, or lower reducer.max_weight)");
  for (const std::uint32_t clients : {phase.min_clients, std::min<std::uint32_t>(most, kMaxSecureClients)}) {
    if (clients < privacy::kFewestClients) continue;
    const privacy::CohortSpec cohort{clients, run.secure.max_corrupt, run.secure.max_drop_out, run.secure.threat};
    if (const auto found = privacy::FindGraphParameters(cohort); !found.ok()) {
      return rules.Require(false, "secure_aggregation", std::string(found.status().message()));
    }
  }
}

void CheckNoise(const v1::Privacy& privacy, Rules& rules) {
  const PrivacySpec spec = ToPrivacy(privacy);
  const std::string& noise = privacy.noise_multiplier();
  rules.Require(noise == "auto" || (spec.noise_multiplier >= 0.01 && spec.noise_multiplier <= 1e6),
                "privacy.noise_multiplier", "got " + Quoted(noise) + ", want auto, or 0.01 to 1e6");
  if (spec.adaptive) {
    rules.RequireDefaults("privacy.clip", privacy.clip(), {"norm"}, "beside privacy.clip.adaptive");
    rules.Require(privacy.clip().groups().empty(), "privacy.clip.groups",
                  "got some, want none beside privacy.clip.adaptive (it follows the norm of all tensors together)");
    const double count = spec.adaptive->count_noise;
    rules.Require(
        count == 0 || count >= kLeastCountNoise, "privacy.clip.adaptive.count_noise",
        "got " + std::to_string(count) + ", want 0 (chosen here), or 2 or more (its cost is reckoned for no less)");
  } else {
    rules.RequireDefaults("privacy.clip.adaptive", privacy.clip().adaptive(), {"start", "rate", "count_noise"},
                          "with quantile 0");
  }
  rules.Require(spec.max_cohort == 0 || spec.accountant == privacy::AccountantKind::kPld, "privacy.accountant",
                "got rdp, want pld with max_cohort (there is no Renyi bound of capped cohorts)");
}

/// Each client hides itself, or its examples: nobody is drawn.
void CheckOwnNoise(const v1::RunConfig& config, Rules& rules) {
  const v1::Privacy& privacy = config.privacy();
  const bool examples = ToPrivacy(privacy).hides_examples();
  const std::string with = std::string("with privacy.mechanism ") + (examples ? "example_level" : "local");
  rules.RequireDefaults("privacy", privacy, {"population", "max_cohort", "min_separation"}, with);
  rules.Require(privacy.clip().adaptive().quantile() == 0, "privacy.clip.adaptive.quantile",
                "got one, want 0 " + with + " (whether a client is within the norm would be a release of its own)");
  if (!examples) return;
  const Status method = CheckExampleGradients(ToPlan(config).method);
  rules.Require(method.ok(), "peft.method", std::string(method.message()));
}

/// Who makes the noise, and what that takes.
void CheckMechanism(const v1::RunConfig& config, Rules& rules) {
  const v1::Privacy& privacy = config.privacy();
  const v1::SecureAggregation& secure = config.secure_aggregation();
  const bool masked = secure.mode() == v1::SecureAggregation::PAIRWISE;
  if (ToPrivacy(privacy).own()) return CheckOwnNoise(config, rules);
  if (ToPrivacy(privacy).at_coordinator()) {
    return rules.Require(!masked, "secure_aggregation.mode",
                         "got pairwise, want none with privacy.mechanism central or dp_ftrl: the coordinator clips "
                         "each update, so it sees it (mechanism distributed goes with pairwise)");
  }
  const std::string with = "with privacy.mechanism distributed";
  rules.Require(masked, "secure_aggregation.mode",
                "got none, want pairwise " + with + " (each client's noise is only a share: alone it hides nothing)");
  rules.Require(privacy.accountant() == v1::Privacy::RDP, "privacy.accountant",
                "got pld, want rdp " + with + " (there is no loss distribution of noise that clients make)");
  rules.Require(privacy.clip().adaptive().quantile() == 0, "privacy.clip.adaptive.quantile",
                "got one, want 0 " + with + " (whether a client is within the norm would be a release of its own)");
  rules.Require(privacy.max_cohort() == 0, "privacy.max_cohort",
                "got " + std::to_string(privacy.max_cohort()) + ", want 0 " + with +
                    " (there is no Renyi bound of capped cohorts)");
  if (masked)
    rules.RequireDefaults("secure_aggregation", secure, {"range"}, with + ", where the clip norm is the range");
}

/// How a round's clients are sampled.
void CheckSampling(const std::string& path, const PhaseSpec& phase, const v1::RunConfig& config, Rules& rules) {
  const v1::Privacy& privacy = config.privacy();
  const std::string participation = path + ".participation";
  rules.Require(phase.cohort >= 1 && phase.cohort <= privacy.population(), participation + ".cohort",
                "got " + std::to_string(phase.cohort) + ", want 1 to privacy.population (each client is in a round " +
                    "with the probability cohort / population)");
  rules.Require(phase.min_clients <= privacy.population(), participation + ".min_clients",
                "got " + std::to_string(phase.min_clients) + ", want at most privacy.population");
  RunSpec run;
  run.privacy = ToPrivacy(privacy);
  run.secure = ToSecureAggregation(config.secure_aggregation());
  run.schedule = ToSchedule(config);
  rules.Require(phase.cohort > privacy.population() || FewestToDrawFrom(run, phase).has_value(),
                participation + ".min_clients",
                "got " + std::to_string(phase.min_clients) + " of a cohort of " + std::to_string(phase.cohort) +
                    ", want fewer, or a larger cohort (or all: cohort equal to privacy.population): a round of too few "
                    "is void, and that everybody sees that would have to be next to impossible");
  rules.Require(privacy.max_cohort() == 0 || privacy.max_cohort() >= phase.cohort, "privacy.max_cohort",
                "got " + std::to_string(privacy.max_cohort()) + ", want at least the cohort (" +
                    std::to_string(phase.cohort) + "), which is only the number that is expected");
}

void CheckSampled(const v1::RunConfig& config, const std::vector<PhaseSpec>& schedule, Rules& rules) {
  const v1::Privacy& privacy = config.privacy();
  const std::uint32_t population = privacy.population();
  rules.Require(population > 0, "privacy.population", "is missing, want how many clients there are");
  rules.RequireDefaults("privacy", privacy, {"min_separation"}, "but with mechanism dp_ftrl");
  rules.Require(
      privacy.budget().delta() * population < 1, "privacy.budget.delta",
      "is 1 / population or more, want well below it (with that chance everything may be told of one client)");
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    CheckSampling("schedule." + std::to_string(i), schedule[i], config, rules);
  }
}

/// What is required of rounds whoever is drawn.
void CheckPrivatePhase(const std::string& path, const PhaseSpec& phase, const v1::Privacy& privacy, Rules& rules) {
  rules.Require(phase.reducer.weights == ReducerSpec::Weights::kUniform, path + ".reducer.weights",
                "got examples, want uniform under privacy (weights would tell of the clients' data, and the bound is "
                "for clients that count the same)");
  rules.Require(phase.over_selection == 0 || ToPrivacy(privacy).own(), path + ".participation.over_selection",
                "got a share of extra clients, want 0 under privacy (who is in a round may not depend on who is fast)");
}

/// Correlated noise is for one kind of round, and for clients whose rounds are far apart.
void CheckCorrelated(const v1::RunConfig& config, const std::vector<PhaseSpec>& schedule, Rules& rules) {
  const v1::Privacy& privacy = config.privacy();
  const std::string with = "with privacy.mechanism dp_ftrl";
  rules.RequireDefaults("privacy", privacy, {"population", "max_cohort"}, with + ", where nobody is sampled");
  rules.Require(privacy.clip().adaptive().quantile() == 0, "privacy.clip.adaptive.quantile",
                "got one, want 0 " + with + " (its noise is made for the same norm in all rounds)");
  rules.Require(privacy.min_separation() > 0, "privacy.min_separation",
                "is missing, want how many rounds a client's are apart at least " + with);
  rules.Require(schedule.size() == 1, "schedule",
                "got " + std::to_string(schedule.size()) + " phases, want one " + with +
                    " (a round takes off what earlier ones added, to the same values over the same clients)");
  if (schedule.size() != 1 || privacy.min_separation() == 0) return;
  const PhaseSpec& phase = schedule[0];
  const std::string participation = "schedule.0.participation";
  rules.Require(phase.views.size() < 2, "schedule.0.views",
                "got " + std::to_string(phase.views.size()) + ", want at most one " + with +
                    " (a round takes off what earlier ones added to the same values)");
  rules.Require(phase.cohort > 0, participation + ".cohort",
                "got 0, want a number " + with + ": the mean is over so many, whoever comes");
  rules.Require(
      phase.min_clients <= phase.cohort, participation + ".min_clients",
      "got " + std::to_string(phase.min_clients) + ", want at most the cohort (" + std::to_string(phase.cohort) + ")");
  const std::uint64_t apart = std::min(privacy.min_separation(), phase.rounds);
  const std::uint64_t fewest = apart * phase.min_clients;
  rules.Require(config.limits().max_clients() >= fewest, "limits.max_clients",
                "got " + std::to_string(config.limits().max_clients()) + ", want at least " + std::to_string(fewest) +
                    ": so many are min_clients in each of " + std::to_string(apart) +
                    " rounds, of which a client may be in one");
  rules.Require(privacy.budget().delta() * static_cast<double>(apart * phase.cohort) < 1, "privacy.budget.delta",
                "is 1 / (cohort · min_separation) or more, want well below 1 / all clients (with that chance "
                "everything may be told of one client)");
}

}  // namespace

void CheckSecureAggregation(const v1::RunConfig& config, Rules& rules) {
  const v1::SecureAggregation& message = config.secure_aggregation();
  RunSpec run;
  run.secure = ToSecureAggregation(message);
  run.privacy = ToPrivacy(config.privacy());
  run.limits.max_clients = config.limits().max_clients();
  run.schedule = ToSchedule(config);
  const bool wide = run.secure.bits >= privacy::kMinRingBits && run.secure.bits <= privacy::kMaxRingBits;
  rules.Require(message.bits() == "auto" || wide, "secure_aggregation.bits",
                "got " + Quoted(message.bits()) + ", want auto, or " + std::to_string(privacy::kMinRingBits) + " to " +
                    std::to_string(privacy::kMaxRingBits));
  if (!run.secure.on) {
    return rules.RequireDefaults("secure_aggregation", message,
                                 {"threat", "max_drop_out", "max_corrupt", "bits", "range", "rotation", "suite",
                                  "step_deadline_s", "upload_deadline_s"},
                                 "with mode none");
  }
  for (std::size_t i = 0; i < run.schedule.size(); ++i) {
    CheckSecurePhase("schedule." + std::to_string(i), run, run.schedule[i], rules);
  }
}

void CheckHiddenUpdates(RunSpec run, std::uint64_t values, Rules& rules) {
  if (!ResolveNoise(run).ok()) return;  // whoever starts the run says why
  const double deviation = run.privacy.noise_multiplier * run.privacy.clip;
  for (std::size_t i = 0; i < run.schedule.size(); ++i) {
    const PhaseSpec& phase = run.schedule[i];
    const double reach = run.privacy.clip + kReachOfNoise * deviation;
    rules.Require(reach <= phase.reducer.max_abs, "schedule." + std::to_string(i) + ".reducer.max_abs",
                  "got " + std::to_string(phase.reducer.max_abs) + ", want at least " + std::to_string(reach) +
                      ", which the clip norm and the noise on it may reach");
    const std::uint32_t clients = MostInRound(run, phase);
    const double noise = run.privacy.noise_multiplier * std::sqrt(static_cast<double>(values) / clients);
    rules.Require(
        noise <= kMostNoise, "privacy.mechanism",
        "got local, under which the mean of " + std::to_string(clients) + " updates of " + std::to_string(values) +
            " values has noise at least " + std::to_string(std::llround(noise)) +
            " times as long as itself: nothing would be learned, want at most " + std::to_string(kMostNoise) +
            " (fewer parameters or rounds, more clients a round, a larger epsilon, or mechanism distributed)");
  }
}

void CheckPrivacy(const v1::RunConfig& config, Rules& rules) {
  const v1::Privacy& privacy = config.privacy();
  if (!ToPrivacy(privacy).on()) {
    const std::string where = "with mechanism none";
    rules.RequireDefaults("privacy", privacy,
                          {"noise_multiplier", "accountant", "population", "max_cohort", "min_separation"}, where);
    rules.RequireDefaults("privacy.budget", privacy.budget(), {"epsilon", "delta"}, where);
    rules.RequireDefaults("privacy.clip", privacy.clip(), {"norm"}, where);
    rules.Require(privacy.clip().groups().empty(), "privacy.clip.groups",
                  "got some, which have no effect " + where + ", want none");
    rules.RequireDefaults("privacy.clip.adaptive", privacy.clip().adaptive(),
                          {"quantile", "start", "rate", "count_noise"}, where);
    return;
  }
  CheckNoise(privacy, rules);
  CheckMechanism(config, rules);
  rules.Require(config.peft().method() != v1::Peft::ADALORA, "peft.method",
                "got adalora, want another one under privacy (its scores are a release of their own, without noise)");
  const std::vector<PhaseSpec> schedule = ToSchedule(config);
  if (ToPrivacy(privacy).correlated()) CheckCorrelated(config, schedule, rules);
  if (ToPrivacy(privacy).sampled()) CheckSampled(config, schedule, rules);
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    CheckPrivatePhase("schedule." + std::to_string(i), schedule[i], privacy, rules);
  }
}

}  // namespace fedpeft::configs
