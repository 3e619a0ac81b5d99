#include "server/budget.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "configs/privacy.h"
#include "server/report.h"

namespace fedpeft::server {
namespace {

privacy::Release RoundOf(const BudgetPlan& plan, double noise) {
  if (plan.cap) return privacy::CappedPoissonSum{plan.cap->clients, plan.sampling, plan.cap->cap, noise};
  return privacy::PoissonSum{plan.sampling, noise};
}

/// Of that many rounds, or of all.
Status AddRounds(const BudgetPlan& plan, double noise, std::uint32_t rounds, privacy::Accountant& accountant) {
  if (plan.min_separation) return accountant.Add(privacy::GaussianSum{noise});
  return accountant.Add(RoundOf(plan, noise), rounds);
}

Status Check(const BudgetPlan& plan) {
  if (plan.rounds < 1) return InvalidArgument("rounds: got 0, want 1 or more of a plan (or the state folder of a run)");
  if (!(plan.delta > 0 && plan.delta < 1)) return InvalidArgument("delta: want more than 0 and less than 1");
  if (plan.epsilon && !(*plan.epsilon > 0)) return InvalidArgument("epsilon: want more than 0");
  if (plan.epsilon.has_value() == plan.noise_multiplier.has_value()) {
    return InvalidArgument("budget: want either an epsilon, to find the noise for, or a noise multiplier");
  }
  if (plan.min_separation && *plan.min_separation < 1) return InvalidArgument("min separation: got 0, want 1 or more");
  return OkStatus();
}

/// 1, 2, 5, 10, 20, …, and `last`.
std::vector<std::uint32_t> Steps(std::uint32_t last) {
  std::vector<std::uint32_t> steps;
  for (std::uint64_t power = 1; power < last; power *= 10) {
    for (const std::uint32_t times : {1u, 2u, 5u}) {
      if (times * power < last) steps.push_back(static_cast<std::uint32_t>(times * power));
    }
  }
  steps.push_back(last);
  return steps;
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

constexpr const char* kAllAtOnce =
    "\nAll rounds are one release, spent with the first. Who takes part in which is no secret.\n";

/// Rounds that are alike.
struct Rounds {
  privacy::Release release;
  double sampling = 1;
  std::uint32_t count = 0;
};

Result<std::vector<BudgetRow>> KnownRows(const std::vector<Rounds>& phases, privacy::AccountantKind kind,
                                         double delta) {
  privacy::Accountant expected(kind), all(kind);
  BudgetRow one{1, 0}, mean, every;
  for (const Rounds& phase : phases) {
    const privacy::Release known = privacy::KnownTo(phase.release);
    const auto times = static_cast<std::uint32_t>(std::ceil(phase.sampling * phase.count));
    privacy::Accountant single(kind);
    RETURN_IF_ERROR(single.Add(known));
    RETURN_IF_ERROR(expected.Add(known, times));
    RETURN_IF_ERROR(all.Add(known, phase.count));
    one.epsilon = std::max(one.epsilon, single.Epsilon(delta));
    mean.rounds += times;
    every.rounds += phase.count;
  }
  mean.epsilon = expected.Epsilon(delta);
  every.epsilon = all.Epsilon(delta);
  return std::vector{one, mean, every};
}

nlohmann::ordered_json RowsJson(const std::vector<BudgetRow>& rows) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const BudgetRow& row : rows) json.push_back({{"rounds", row.rounds}, {"epsilon", row.epsilon}});
  return json;
}

}  // namespace

Result<std::vector<BudgetRow>> KnownParticipation(const RunSpec& run) {
  std::vector<Rounds> phases;
  std::uint32_t round = 1;
  for (const PhaseSpec& phase : run.schedule) {
    ASSIGN_OR_RETURN(const std::optional<privacy::Release> release, RoundRelease(run, round));
    const double sampling = static_cast<double>(phase.cohort) / std::max(1u, run.privacy.population);
    if (release) phases.push_back({*release, sampling, phase.rounds});
    round += phase.rounds;
  }
  return KnownRows(phases, run.privacy.accountant, run.privacy.budget.delta);
}

std::string KnownText(const std::vector<BudgetRow>& known) {
  if (known.empty()) return "";
  std::string text = "To whoever knows which rounds a client is in, as the coordinator does, it costs epsilon ";
  for (std::size_t i = 0; i < known.size(); ++i) {
    text += (i == 0                 ? ""
             : i + 1 < known.size() ? ", "
                                    : " and ") +
            Number(known[i].epsilon) + " to be in " + std::to_string(known[i].rounds) +
            (i == 1 ? ", as is expected," : "");
  }
  return text + ".\n";
}

Result<BudgetForecast> Forecast(const BudgetPlan& plan) {
  RETURN_IF_ERROR(Check(plan));
  BudgetForecast forecast;
  if (plan.noise_multiplier) {
    forecast.noise_multiplier = *plan.noise_multiplier;
  } else {
    ASSIGN_OR_RETURN(forecast.noise_multiplier, privacy::NoiseFor({*plan.epsilon, plan.delta}, plan.accountant,
                                                                  [&](privacy::Accountant& accountant, double noise) {
                                                                    return AddRounds(plan, noise, plan.rounds,
                                                                                     accountant);
                                                                  }));
  }
  privacy::Accountant accountant(plan.accountant);
  std::uint32_t before = 0;
  for (const std::uint32_t rounds : plan.min_separation ? std::vector{plan.rounds} : Steps(plan.rounds)) {
    RETURN_IF_ERROR(AddRounds(plan, forecast.noise_multiplier, rounds - before, accountant));
    forecast.rows.push_back({rounds, accountant.Epsilon(plan.delta)});
    before = rounds;
  }
  if (plan.min_separation) return forecast;
  const Rounds all{RoundOf(plan, forecast.noise_multiplier), plan.sampling, plan.rounds};
  ASSIGN_OR_RETURN(forecast.known, KnownRows({all}, plan.accountant, plan.delta));
  return forecast;
}

std::string ForecastText(const BudgetPlan& plan, const BudgetForecast& forecast) {
  std::string text = "noise multiplier " + Number(forecast.noise_multiplier);
  if (plan.epsilon) text += ", the least for epsilon " + Number(*plan.epsilon);
  text += "\ndelta " + Number(plan.delta);
  if (plan.min_separation) {
    const privacy::CorrelationSpec spec{plan.rounds, *plan.min_separation};
    text += ", clients in at most " + std::to_string(spec.participations()) + " rounds, " +
            std::to_string(spec.separation) + " apart: noise of " +
            Number(forecast.noise_multiplier * spec.Sensitivity()) + " times the clip norm";
  } else {
    text += ", sampling rate " + Number(plan.sampling);
  }
  if (plan.cap) {
    text += ", at most " + std::to_string(plan.cap->cap) + " of " + std::to_string(plan.cap->clients) + " clients";
  }
  text += ", by " + std::string(NameOf(plan.accountant)) + "\n\n    rounds    epsilon\n";
  for (const BudgetRow& row : forecast.rows) {
    char line[64];
    std::snprintf(line, sizeof(line), "%10u %10.4f\n", row.rounds, row.epsilon);
    text += line;
  }
  if (plan.min_separation) return text + kAllAtOnce;
  return text + "\n" + KnownText(forecast.known);
}

std::string ForecastJson(const BudgetPlan& plan, const BudgetForecast& forecast) {
  nlohmann::ordered_json json;
  json["noise_multiplier"] = forecast.noise_multiplier;
  json["delta"] = plan.delta;
  if (plan.min_separation) {
    const privacy::CorrelationSpec spec{plan.rounds, *plan.min_separation};
    json["min_separation"] = spec.separation;
    json["participations"] = spec.participations();
    json["sensitivity"] = spec.Sensitivity();
  } else {
    json["sampling"] = plan.sampling;
  }
  json["accountant"] = NameOf(plan.accountant);
  json["rounds"] = RowsJson(forecast.rows);
  json["known_participation"] = RowsJson(forecast.known);
  return json.dump(2) + "\n";
}

Result<BudgetStatus> ReadBudget(StateReader& state) {
  ASSIGN_OR_RETURN(RunSpec run, StoredRun(state));
  if (!run.privacy.on()) return FailedPrecondition("run " + run.name + ": has no differential privacy");
  if (run.privacy.own()) {
    return FailedPrecondition("run " + run.name + ": each client has its own ledger, in its state folder " +
                              "(fedpeft-client budget --state)");
  }
  ASSIGN_OR_RETURN(std::vector<privacy::Release> releases, state.Releases());
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, state.Rounds());
  BudgetStatus status;
  status.budget = run.privacy.budget;
  status.accountant = run.privacy.accountant;
  status.releases = static_cast<std::uint32_t>(releases.size());
  status.committed_round = rounds.empty() ? 0 : rounds.back().round;
  status.total_rounds = run.total_rounds();
  status.one_release = run.privacy.correlated();
  ASSIGN_OR_RETURN(status.spent, EpsilonOf(run, releases));
  RETURN_IF_ERROR(ResolveNoise(run));
  status.noise_multiplier = run.privacy.noise_multiplier;
  ASSIGN_OR_RETURN(status.last_round, LastAffordableRound(run, status.committed_round, releases));
  status.after_next = status.spent;
  if (status.committed_round < status.total_rounds) {
    ASSIGN_OR_RETURN(const std::optional<privacy::Release> next, RoundRelease(run, status.committed_round + 1));
    if (next) releases.push_back(*next);
    ASSIGN_OR_RETURN(status.after_next, EpsilonOf(run, releases));
  }
  if (!status.one_release) {
    ASSIGN_OR_RETURN(status.known, KnownParticipation(run));
  }
  return status;
}

std::string BudgetText(const BudgetStatus& status) {
  return "spent       epsilon " + Number(status.spent) + " of " + Number(status.budget.epsilon) + ", delta " +
         Number(status.budget.delta) + ", by " + std::string(NameOf(status.accountant)) + "\n" +  //
         "released    " + std::to_string(status.one_release ? status.committed_round : status.releases) +
         " rounds of " + std::to_string(status.total_rounds) + "\n" +  //
         "next round  epsilon " + Number(status.after_next) + " after it, noise multiplier " +
         Number(status.noise_multiplier) + "\n" +  //
         "left        " + std::to_string(status.last_round - status.committed_round) + " rounds\n" +
         (status.one_release ? kAllAtOnce : "\n" + KnownText(status.known));
}

std::string BudgetJson(const BudgetStatus& status) {
  nlohmann::ordered_json json;
  json["epsilon"] = status.budget.epsilon;
  json["delta"] = status.budget.delta;
  json["accountant"] = NameOf(status.accountant);
  json["releases"] = status.releases;
  json["spent"] = status.spent;
  json["after_next_round"] = status.after_next;
  json["noise_multiplier"] = status.noise_multiplier;
  json["rounds_left"] = status.last_round - status.committed_round;
  json["known_participation"] = RowsJson(status.known);
  return json.dump(2) + "\n";
}

}  // namespace fedpeft::server
