#include <cstdio>
#include <string>

#include "server/cli.h"

namespace fedpeft::server {
namespace {

Result<std::string> Text(const BudgetArgs& args) {
  if (args.state.empty()) {
    ASSIGN_OR_RETURN(const BudgetForecast forecast, Forecast(args.plan));
    return (args.json ? ForecastJson : ForecastText)(args.plan, forecast);
  }
  ASSIGN_OR_RETURN(StateReader state, StateReader::Open(args.state));
  ASSIGN_OR_RETURN(const BudgetStatus status, ReadBudget(state));
  return (args.json ? BudgetJson : BudgetText)(status);
}

}  // namespace

int Budget(const BudgetArgs& args) {
  const Result<std::string> text = Text(args);
  if (!text.ok()) return Fail(text.status());
  std::fputs(text->c_str(), stdout);
  return 0;
}

}  // namespace fedpeft::server
