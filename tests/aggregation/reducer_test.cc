#include "aggregation/reducer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "aggregation/server_optimizer.h"
#include "tests/aggregation/layouts.h"

namespace fedpeft::aggregation {
namespace {

using testing::Scalar;
using testing::TwoTensors;
using testing::WholePayload;
using testing::Wire;

IntegerSum Begin(const SumReducer& reducer, std::shared_ptr<const ParamLayout> layout, std::uint64_t contributions) {
  Result<IntegerSum> sum = reducer.Begin(layout, WholePayload(*layout, 16), contributions);
  EXPECT_TRUE(sum.ok()) << sum.status().ToString();
  return std::move(sum).value();
}

TEST(SumReducerTest, WeighsByExamplesUpToTheCap) {
  const SumReducer reducer(Weighting::kExamples, 100);
  EXPECT_EQ(*reducer.WeightOf(1), 1u);
  EXPECT_EQ(*reducer.WeightOf(100), 100u);
  EXPECT_EQ(*reducer.WeightOf(1'000'000), 100u);
  EXPECT_EQ(reducer.WeightOf(0).status().code(), Code::kInvalidArgument);
}

TEST(SumReducerTest, UniformWeightsIgnoreExamples) {
  const SumReducer reducer(Weighting::kUniform, 100);
  EXPECT_EQ(*reducer.WeightOf(0), 1u);
  EXPECT_EQ(*reducer.WeightOf(12345), 1u);
  // Nor does the cap cost resolution: 50 − log2(16).
  EXPECT_EQ(Begin(reducer, Scalar(), 1).grid_exponent(), 46);
}

TEST(SumReducerTest, MeanIsExactForOneLargeAndManySmallClients) {
  const SumReducer reducer(Weighting::kExamples, 1000);
  IntegerSum sum = Begin(reducer, TwoTensors(), 12);
  ASSERT_TRUE(sum.Add(Wire(std::vector<float>(10, 1)), *reducer.WeightOf(900)).ok());
  for (int i = 0; i < 11; ++i) ASSERT_TRUE(sum.Add(Wire(std::vector<float>(10, -1)), *reducer.WeightOf(9)).ok());
  const Result<Reduced> reduced = reducer.Finish(std::move(sum));
  ASSERT_TRUE(reduced.ok());
  EXPECT_EQ(reduced->total_weight, 999u);
  EXPECT_EQ(reduced->contributions, 12u);
  EXPECT_THAT(reduced->mean, ::testing::Each(static_cast<float>(801.0 / 999.0)));
}

TEST(SumReducerTest, AUniformMeanOfOneUpdateIsThatUpdateToTheGrid) {
  const SumReducer reducer(Weighting::kUniform, 1);
  IntegerSum sum = Begin(reducer, TwoTensors(), 1);
  const std::vector<float> update = {1e-6f, -3e-5f, 0.1f, 15.9f, -16, 0, 1, 0x1p-46f, 2.5f, -0.75f};
  ASSERT_TRUE(sum.Add(Wire(update), 1).ok());
  const Result<Reduced> reduced = reducer.Finish(std::move(sum));
  ASSERT_TRUE(reduced.ok());
  for (std::size_t i = 0; i < update.size(); ++i) {
    EXPECT_NEAR(static_cast<double>(reduced->mean[i]), static_cast<double>(update[i]), 0x1p-47) << i;
  }
}

TEST(SumReducerTest, NothingToFinishIsAnError) {
  const SumReducer reducer(Weighting::kUniform, 1);
  EXPECT_EQ(reducer.Finish(Begin(reducer, Scalar(), 1)).status().code(), Code::kFailedPrecondition);

  IntegerSum spoiled = Begin(reducer, Scalar(), 1);
  int reads = 0;
  const auto reader = [&](std::uint64_t, MutableByteSpan) { return ++reads == 2 ? Unavailable("gone") : OkStatus(); };
  ASSERT_FALSE(spoiled.Add(4, reader, 1).ok());
  EXPECT_EQ(reducer.Finish(std::move(spoiled)).status().code(), Code::kDataLoss);
}

TEST(SumReducerTest, DeclaresWhatItNeeds) {
  EXPECT_EQ(SumReducer(Weighting::kExamples, 9).caps().needs, Needs::kSum);
  EXPECT_TRUE(SumReducer(Weighting::kExamples, 9).caps().data_dependent_weights);
  EXPECT_FALSE(SumReducer(Weighting::kUniform, 9).caps().data_dependent_weights);
}

/// Clients with f_k(x) = a_k/2 (x − b_k)², who take `steps` gradient steps of size `rate` from the global x.
struct Quadratic {
  double a;
  double b;
};

float RunFedAvg(const std::vector<Quadratic>& clients, double rate, int steps, int rounds) {
  const SumReducer reducer(Weighting::kUniform, 1);
  const Result<ServerOptimizer> optimizer = ServerOptimizer::Make({});
  OptimizerState state = optimizer->InitialState(1);
  std::vector<float> global = {0};
  for (int round = 0; round < rounds; ++round) {
    IntegerSum sum = Begin(reducer, Scalar(), clients.size());
    for (const Quadratic& client : clients) {
      const double start = static_cast<double>(global[0]);
      double x = start;
      for (int step = 0; step < steps; ++step) x -= rate * client.a * (x - client.b);
      EXPECT_TRUE(sum.Add(Wire({static_cast<float>(x - start)}), 1).ok());
    }
    const Result<Reduced> reduced = reducer.Finish(std::move(sum));
    EXPECT_TRUE(optimizer->Step(*reduced, global, state).ok());
  }
  return global[0];
}

TEST(FedAvgTest, ReachesTheFixedPointOfDriftingQuadratics) {
  // Σ (1−ρ_k) b_k / Σ (1−ρ_k), ρ_k = (1 − 0.05 a_k)^20: .6091935, and not the optimum .9090909. Each round contracts
  // by (ρ_1 + ρ_2)/2 ≈ 0.18; at rest a round moves x by less than half a float ulp of 0.6, 3e-8.
  EXPECT_NEAR(static_cast<double>(RunFedAvg({{1, 0}, {10, 1}}, 0.05, 20, 60)), 0.6091935, 1e-7);
}

TEST(FedAvgTest, OneFullBatchStepIsACentralisedStep) {
  // Gradient descent on the mean of f_k from 0: 0.05 · (1·0 + 10·1)/2.
  EXPECT_NEAR(static_cast<double>(RunFedAvg({{1, 0}, {10, 1}}, 0.05, 1, 1)), 0.25, 1e-7);
}

}  // namespace
}  // namespace fedpeft::aggregation
