// What rounds under differential privacy cost: those of a run, and, for planning one, those that there might be.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "configs/run.h"
#include "peft/core/status.h"
#include "privacy/accounting/accountant.h"
#include "privacy/mechanism/correlated.h"
#include "server/state_reader.h"

namespace fedpeft::server {

/// Rounds of a planned run, all alike.
struct BudgetPlan {
  /// Each client is in a round with that probability.
  double sampling = 1;
  /// No more than `cap` of all `clients` are in a round.
  struct Cap {
    std::uint64_t clients = 0;
    std::uint64_t cap = 0;
  };
  std::optional<Cap> cap;
  /// Nobody is sampled, a client's rounds are so many apart, and the noise is correlated: all rounds are one release.
  std::optional<std::uint32_t> min_separation;
  std::uint32_t rounds = 0;
  double delta = 0;
  /// One of them: the noise, or the ε that it is to be found for.
  std::optional<double> noise_multiplier;
  std::optional<double> epsilon;
  privacy::AccountantKind accountant = privacy::AccountantKind::kPld;
};

/// What so many rounds cost.
struct BudgetRow {
  std::uint32_t rounds = 0;
  double epsilon = 0;
};

/// What rounds say about a client to whoever knows that it is in them, as the coordinator does: one, as many as a
/// client is expected to be in, and all.
Result<std::vector<BudgetRow>> KnownParticipation(const RunSpec& run);
/// A sentence on it; nothing without rows.
std::string KnownText(const std::vector<BudgetRow>& known);

struct BudgetForecast {
  double noise_multiplier = 0;
  /// After 1, 2, 5, 10, … rounds, and all; of correlated noise all.
  std::vector<BudgetRow> rows;
  /// KnownParticipation; nothing where it is no secret.
  std::vector<BudgetRow> known;
};

/// Errors: kInvalidArgument naming the parameter that is out of range; NoiseFor's, and the accountant's.
Result<BudgetForecast> Forecast(const BudgetPlan& plan);
std::string ForecastText(const BudgetPlan& plan, const BudgetForecast& forecast);
std::string ForecastJson(const BudgetPlan& plan, const BudgetForecast& forecast);

/// Where a run's budget stands.
struct BudgetStatus {
  privacy::PrivacyBudget budget;
  privacy::AccountantKind accountant = privacy::AccountantKind::kPld;
  std::uint32_t releases = 0;
  /// The first release was of all rounds, for the noise is correlated.
  bool one_release = false;
  double spent = 0;
  std::uint32_t committed_round = 0;
  std::uint32_t total_rounds = 0;
  /// Of the rounds to come.
  double noise_multiplier = 0;
  /// After one round more.
  double after_next = 0;
  /// The last round that the budget allows.
  std::uint32_t last_round = 0;
  /// KnownParticipation; nothing where it is no secret.
  std::vector<BudgetRow> known;
};

/// Errors: those of the state folder; kFailedPrecondition for a run without differential privacy.
Result<BudgetStatus> ReadBudget(StateReader& state);
std::string BudgetText(const BudgetStatus& status);
std::string BudgetJson(const BudgetStatus& status);

}  // namespace fedpeft::server
