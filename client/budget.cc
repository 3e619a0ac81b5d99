#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/commands.h"
#include "client/ledger.h"

namespace fedpeft::client {
namespace {

struct Spending {
  std::size_t releases = 0;
  double epsilon = 0;
};

Result<Spending> SpendingOf(const std::vector<SpentRow>& rows, double delta) {
  ASSIGN_OR_RETURN(const double epsilon, EpsilonOfRows(rows, delta));
  return Spending{rows.size(), epsilon};
}

void Print(const char* indent, const std::string& what, const Spending& spent) {
  std::printf("%s%s: %zu trainings, epsilon %.4g\n", indent, what.c_str(), spent.releases, spent.epsilon);
}

}  // namespace

Status RunBudget(const BudgetOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, LedgersIn(options.state));
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const PrivacyLedger ledger, PrivacyLedger::Open(LedgerPathIn(options.state, name)));
    std::map<std::string, std::vector<SpentRow>> runs;
    for (const SpentRow& row : ledger.rows()) runs[row.run_id].push_back(row);
    ASSIGN_OR_RETURN(const Spending all, SpendingOf(ledger.rows(), options.delta));
    json[name] = {{"trainings", all.releases}, {"epsilon", all.epsilon}, {"delta", options.delta}};
    if (!options.json) Print("", name, all);
    for (const auto& [run, rows] : runs) {
      ASSIGN_OR_RETURN(const Spending one, SpendingOf(rows, options.delta));
      json[name]["runs"][run] = {{"trainings", one.releases}, {"epsilon", one.epsilon}};
      if (!options.json) Print("  run ", run, one);
    }
  }
  if (options.json) {
    std::printf("%s\n", json.dump(2).c_str());
  } else if (names.empty()) {
    std::printf("%s: no client here has hidden itself by noise of its own\n", options.state.c_str());
  } else {
    std::printf("delta %.4g; runs add up to less than the sum of their epsilons\n", options.delta);
  }
  return OkStatus();
}

}  // namespace fedpeft::client
