#include "peft/plan/ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "peft/plan/plan.h"

namespace fedpeft {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

/// Two linears of two layers, four ranks each at first.
PeftPlan RankedPlan() {
  PeftPlan plan;
  plan.base = {"bert", 8, 2, 2, 16, 20, 20};
  AdaLoraConfig config;
  config.lora.rank = 4;
  config.lora.target_modules = {"query"};
  config.target_rank = 2;
  plan.method = config;
  plan.labels = 2;
  return plan;
}

/// All values 1, scores as given.
ParamVector Scored(const std::vector<float>& scores) {
  ParamVector params(PlanLayout(RankedPlan()).value());
  std::ranges::fill(params.values(), 1.0f);
  std::size_t at = 0;
  for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
    if (params.layout()->tensors()[i].role != Role::kRankScore) continue;
    for (float& score : params.tensor(i)) score = scores[at++];
  }
  return params;
}

std::vector<float> Of(const ParamVector& params, Role role) {
  std::vector<float> values;
  for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
    if (params.layout()->tensors()[i].role != role) continue;
    values.insert(values.end(), params.tensor(i).begin(), params.tensor(i).end());
  }
  return values;
}

TEST(RanksTest, BudgetFallsAsInPeft) {
  AdaLoraConfig config;
  config.lora.rank = 12;
  config.target_rank = 8;
  config.warmup_rounds = 2;
  config.final_rounds = 3;
  std::vector<std::int64_t> budgets;
  for (std::uint32_t round = 1; round <= 12; ++round) budgets.push_back(RankBudget(config, 6, round, 12));
  // peft 0.21: RankAllocator.budget_schedule with tinit 2, tfinal 3, total_step 12 and six modules.
  EXPECT_THAT(budgets, ElementsAre(72, 72, 63, 56, 52, 49, 48, 48, 48, 48, 48, 48));
}

TEST(RanksTest, TheBestScoresStayWhereverTheyAre) {
  // After the last round four of eight stay; of equals the earlier one.
  ParamVector params = Scored({0.1f, 0.3f, 0.1f, 0.2f, 0.05f, 0.1f, 0.01f, 0.4f});
  AllocateRanks(RankedPlan().method, 1, 1, params);
  EXPECT_THAT(Of(params, Role::kRankMask), ElementsAre(1, 1, 0, 1, 0, 0, 0, 1));
  EXPECT_THAT(Of(params, Role::kLoraE), ElementsAre(1, 1, 0, 1, 0, 0, 0, 1));
  const std::vector<float> a = Of(params, Role::kLoraA), b = Of(params, Role::kLoraB);
  EXPECT_EQ(std::accumulate(a.begin(), a.end(), 0.0f), 4 * 8);
  EXPECT_EQ(std::accumulate(b.begin(), b.end(), 0.0f), 4 * 8);
  EXPECT_THAT(std::vector<float>(b.begin(), b.begin() + 4), ElementsAre(1, 1, 0, 1));  // columns
  EXPECT_THAT(Of(params, Role::kHead), Each(1));
}

TEST(RanksTest, WhatFellAwayStaysAway) {
  ParamVector params = Scored({8, 7, 6, 5, 4, 3, 2, 1});
  AllocateRanks(RankedPlan().method, 1, 2, params);
  const std::vector<float> first = Of(params, Role::kRankMask);
  EXPECT_EQ(std::accumulate(first.begin(), first.end(), 0.0f),
            RankBudget(std::get<AdaLoraConfig>(RankedPlan().method), 2, 1, 2));
  for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
    if (params.layout()->tensors()[i].role == Role::kRankScore) std::ranges::fill(params.tensor(i), 1.0f);
  }
  AllocateRanks(RankedPlan().method, 2, 2, params);
  const std::vector<float> second = Of(params, Role::kRankMask);
  EXPECT_EQ(std::accumulate(second.begin(), second.end(), 0.0f), 4);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_LE(second[i], first[i]);
}

TEST(RanksTest, UnusedRanksCarryNoBytes) {
  ParamVector params = Scored({8, 7, 1, 1, 1, 1, 6, 5});
  const auto layout = params.layout();
  const std::vector<bool> all(layout->tensors().size(), true);
  EXPECT_EQ(DensePayload(*layout, all, 1, KeptRanksOf(params)).digest, DensePayload(*layout, all, 1).digest);
  AllocateRanks(RankedPlan().method, 1, 1, params);
  const KeptRanks kept = KeptRanksOf(params);
  const PayloadLayout half = DensePayload(*layout, all, 1, kept), whole = DensePayload(*layout, all, 1);
  // Of each of four ranks a row of A, a column of B, a value of E and a score.
  EXPECT_EQ(whole.size - half.size, 4u * (8 + 8 + 1 + 1));
  EXPECT_NE(half.digest, whole.digest);
  // What travels comes to its place, and the rest stays.
  for (std::size_t i = 0; i < params.values().size(); ++i) params.values()[i] = static_cast<float>(i);
  ParamVector other(layout);
  ASSERT_TRUE(other.Scatter(half, params.Gather(half)).ok());
  std::size_t same = 0;
  for (std::size_t i = 0; i < params.values().size(); ++i) {
    same += other.values()[i] == static_cast<float>(i) ? 1 : 0;
    EXPECT_TRUE(other.values()[i] == static_cast<float>(i) || other.values()[i] == 0);
  }
  EXPECT_GE(same, half.size);
  EXPECT_EQ(Pick(*layout, half, params.values()), Pick(*layout, half, other.values()));
}

}  // namespace
}  // namespace fedpeft
