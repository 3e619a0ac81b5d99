#include "server/budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedpeft::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

BudgetPlan Plan() {
  BudgetPlan plan;
  plan.sampling = 0.01;
  plan.rounds = 1000;
  plan.delta = 1e-5;
  plan.noise_multiplier = 1;
  return plan;
}

TEST(BudgetTest, TellsEpsilonOverRounds) {
  const Result<BudgetForecast> forecast = Forecast(Plan());
  ASSERT_TRUE(forecast.ok());
  std::vector<std::uint32_t> rounds;
  for (const auto& row : forecast->rows) rounds.push_back(row.rounds);
  EXPECT_THAT(rounds, ElementsAre(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000));
  EXPECT_NEAR(forecast->rows.back().epsilon, 1.828244, 1e-5);
  ASSERT_EQ(forecast->known.size(), 3u);
  EXPECT_NEAR(forecast->known[0].epsilon, 4.377178, 1e-6);
  EXPECT_EQ(forecast->known[1].rounds, 10u);
  EXPECT_NEAR(forecast->known[1].epsilon, 17.856587, 1e-5);
  EXPECT_EQ(forecast->known[2].rounds, 1000u);
  EXPECT_THAT(ForecastText(Plan(), *forecast), HasSubstr("4.377 to be in 1, 17.86 to be in 10, as is expected, and "));
  EXPECT_THAT(ForecastText(Plan(), *forecast), HasSubstr("      1000     1.8282\n"));
  EXPECT_THAT(ForecastJson(Plan(), *forecast), HasSubstr("\"accountant\": \"pld\""));
}

TEST(BudgetTest, FindsTheNoise) {
  BudgetPlan plan = Plan();
  plan.noise_multiplier.reset();
  plan.epsilon = 1;
  plan.accountant = privacy::AccountantKind::kRdp;
  const Result<BudgetForecast> forecast = Forecast(plan);
  ASSERT_TRUE(forecast.ok());
  EXPECT_NEAR(forecast->noise_multiplier, 1.5132, 1e-3);
  EXPECT_LE(forecast->rows.back().epsilon, 1);
}

TEST(BudgetTest, CorrelatedNoiseIsOneRelease) {
  BudgetPlan plan = Plan();
  plan.min_separation = 50;
  const Result<BudgetForecast> forecast = Forecast(plan);
  ASSERT_TRUE(forecast.ok());
  ASSERT_EQ(forecast->rows.size(), 1u);
  EXPECT_EQ(forecast->rows[0].rounds, 1000u);
  EXPECT_NEAR(forecast->rows[0].epsilon, 4.377178, 1e-6);
  EXPECT_THAT(ForecastText(plan, *forecast), HasSubstr("clients in at most 20 rounds, 50 apart: noise of 6.797 times"));
  EXPECT_THAT(ForecastText(plan, *forecast), HasSubstr("All rounds are one release"));
  EXPECT_THAT(ForecastJson(plan, *forecast), HasSubstr("\"participations\": 20"));
  plan.noise_multiplier.reset();
  plan.epsilon = 2;
  plan.delta = 1e-6;
  EXPECT_NEAR(Forecast(plan)->noise_multiplier, 2.230476, 1e-3);
}

TEST(BudgetTest, SaysWhatIsWrong) {
  const auto refusal = [](auto change) {
    BudgetPlan plan = Plan();
    change(plan);
    return Forecast(plan).status().message();
  };
  EXPECT_THAT(refusal([](BudgetPlan& plan) { plan.rounds = 0; }), HasSubstr("rounds"));
  EXPECT_THAT(refusal([](BudgetPlan& plan) { plan.delta = 1; }), HasSubstr("delta"));
  EXPECT_THAT(refusal([](BudgetPlan& plan) { plan.sampling = 2; }), HasSubstr("sampling rate"));
  EXPECT_THAT(refusal([](BudgetPlan& plan) { plan.epsilon = 1; }), HasSubstr("either an epsilon"));
  EXPECT_THAT(refusal([](BudgetPlan& plan) { plan.cap = {10, 11}; }), HasSubstr("cap"));
  EXPECT_THAT(refusal([](BudgetPlan& plan) { plan.min_separation = 0; }), HasSubstr("min separation"));
  EXPECT_THAT(refusal([](BudgetPlan& plan) {
                plan.cap = {1000, 20};
                plan.accountant = privacy::AccountantKind::kRdp;
              }),
              HasSubstr("want pld"));
}

}  // namespace
}  // namespace fedpeft::server
