#include <cstdio>
#include <string>

#include "server/cli.h"

namespace fedpeft::server {

int Budget(const BudgetArgs& args) {
  const Result<BudgetForecast> forecast = Forecast(args.plan);
  if (!forecast.ok()) return Fail(forecast.status());
  std::fputs((args.json ? ForecastJson : ForecastText)(args.plan, *forecast).c_str(), stdout);
  return 0;
}

}  // namespace fedpeft::server
