#include "aggregation/server_optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "peft/core/random.h"

namespace fedpeft::aggregation {
namespace {

using Kind = ServerOptimizerConfig::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Kind kAllKinds[] = {Kind::kFedAvg, Kind::kFedAvgM, Kind::kFedAdagrad, Kind::kFedAdam, Kind::kFedYogi};

ServerOptimizer Make(Kind kind, double learning_rate, double beta1 = 0.9) {
  Result<ServerOptimizer> made = ServerOptimizer::Make({kind, learning_rate, beta1, 0.99, 1e-3});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  return std::move(made).value();
}

Reduced Mean(std::vector<float> mean) {
  return {std::move(mean), 1, 1};
}

std::vector<float> RandomValues(std::uint64_t seed, std::size_t size) {
  RandomStream stream(seed, "test-values");
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(stream.NextNormal());
  return values;
}

std::vector<std::uint32_t> Bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

/// Where 0 goes in one step at D = 1 with η = 0.1, β 0.9 and 0.99, τ = 1e-3.
double OneStep(Kind kind) {
  const ServerOptimizer optimizer = Make(kind, 0.1);
  OptimizerState state = optimizer.InitialState(1);
  std::vector<float> parameter = {0};
  EXPECT_TRUE(optimizer.Step(Mean({1}), parameter, state).ok());
  return static_cast<double>(parameter[0]);
}

TEST(ServerOptimizerTest, OneStepNumbers) {
  // Tolerance: half an ulp of float at 0.1 is 3.7e-9; the momentum, 0.1 as a float, adds 1.5e-9. FedAdam and FedYogi
  // differ by 5e-8.
  EXPECT_NEAR(OneStep(Kind::kFedAvg), 0.1, 8e-9);
  EXPECT_NEAR(OneStep(Kind::kFedAvgM), 0.1, 8e-9);
  EXPECT_NEAR(OneStep(Kind::kFedAdagrad), 0.00999000, 8e-9);
  EXPECT_NEAR(OneStep(Kind::kFedAdam), 0.09900505, 8e-9);
  EXPECT_NEAR(OneStep(Kind::kFedYogi), 0.09900500, 8e-9);
}

TEST(ServerOptimizerTest, MomentumWithoutDecayIsFedAvgBitForBit) {
  const ServerOptimizer plain = Make(Kind::kFedAvg, 1);
  const ServerOptimizer momentum = Make(Kind::kFedAvgM, 1, 0);
  std::vector<float> a = RandomValues(1, 1000);
  std::vector<float> b = a;
  OptimizerState none = plain.InitialState(a.size());
  OptimizerState state = momentum.InitialState(a.size());
  for (std::uint64_t round = 2; round < 10; ++round) {
    const Reduced reduced = Mean(RandomValues(round, a.size()));
    ASSERT_TRUE(plain.Step(reduced, a, none).ok());
    ASSERT_TRUE(momentum.Step(reduced, b, state).ok());
    ASSERT_EQ(Bits(a), Bits(b));
  }
}

TEST(ServerOptimizerTest, MomentumAccumulates) {
  const ServerOptimizer optimizer = Make(Kind::kFedAvgM, 2, 0.5);
  OptimizerState state = optimizer.InitialState(1);
  std::vector<float> parameter = {0};
  ASSERT_TRUE(optimizer.Step(Mean({1}), parameter, state).ok());
  EXPECT_THAT(parameter, ElementsAre(2.0f));
  ASSERT_TRUE(optimizer.Step(Mean({1}), parameter, state).ok());
  EXPECT_THAT(parameter, ElementsAre(5.0f));
}

TEST(ServerOptimizerTest, YogiLowersTheSecondMomentAdditively) {
  const ServerOptimizer optimizer = Make(Kind::kFedYogi, 1);
  OptimizerState state = {{"momentum", {0, 0}}, {"second_moment", {4, 1}}};
  std::vector<float> parameters = {0, 0};
  ASSERT_TRUE(optimizer.Step(Mean({1, 1}), parameters, state).ok());
  // v − (1−β2) D² where v > D²; unchanged where they are equal.
  EXPECT_THAT(state.at("second_moment"), ElementsAre(3.99f, 1.0f));
}

TEST(ServerOptimizerTest, AZeroMeanLeavesParametersBitForBit) {
  std::vector<float> parameters = RandomValues(1, 100);
  parameters.insert(parameters.end(), {0.0f, -0.0f, 0x1p-149f, std::numeric_limits<float>::max()});
  const std::vector<std::uint32_t> before = Bits(parameters);
  for (const Kind kind : kAllKinds) {
    const ServerOptimizer optimizer = Make(kind, 1);
    OptimizerState state = optimizer.InitialState(parameters.size());
    ASSERT_TRUE(optimizer.Step(Mean(std::vector<float>(parameters.size(), 0)), parameters, state).ok());
    ASSERT_TRUE(optimizer.Step(Mean(std::vector<float>(parameters.size(), -0.0f)), parameters, state).ok());
    EXPECT_EQ(Bits(parameters), before);
  }
}

TEST(ServerOptimizerTest, GoesOnFromStoredStateAsIfNeverStopped) {
  for (const Kind kind : kAllKinds) {
    const ServerOptimizer optimizer = Make(kind, 0.1);
    std::vector<float> parameters = RandomValues(1, 100);
    OptimizerState state = optimizer.InitialState(parameters.size());
    ASSERT_TRUE(optimizer.Step(Mean(RandomValues(2, 100)), parameters, state).ok());

    const ServerOptimizer restarted = Make(kind, 0.1);
    std::vector<float> stored_parameters = parameters;
    OptimizerState stored_state = state;
    ASSERT_TRUE(optimizer.Step(Mean(RandomValues(3, 100)), parameters, state).ok());
    ASSERT_TRUE(restarted.Step(Mean(RandomValues(3, 100)), stored_parameters, stored_state).ok());
    EXPECT_EQ(Bits(stored_parameters), Bits(parameters));
    EXPECT_EQ(stored_state, state);
  }
}

TEST(ServerOptimizerTest, StateOfAnotherKindOrSizeIsRefused) {
  for (const Kind kind : kAllKinds) {
    const ServerOptimizer optimizer = Make(kind, 0.1);
    std::vector<float> parameters = {1, 2};
    OptimizerState state = {{"momentum", {0}}, {"second_moment", {0}}};
    EXPECT_EQ(optimizer.Step(Mean({1, 1}), parameters, state).code(), Code::kFailedPrecondition);
    state = optimizer.InitialState(2);
    EXPECT_EQ(optimizer.Step(Mean({1}), parameters, state).code(), Code::kFailedPrecondition);
    EXPECT_THAT(parameters, ElementsAre(1, 2));
  }
}

TEST(ServerOptimizerTest, AStepOutOfRangeChangesNothing) {
  const ServerOptimizer optimizer = Make(Kind::kFedAvgM, 1e30, 0.5);
  OptimizerState state = optimizer.InitialState(2);
  std::vector<float> parameters = {1, 2};
  EXPECT_EQ(optimizer.Step(Mean({0, 1e20f}), parameters, state).code(), Code::kOutOfRange);
  EXPECT_THAT(parameters, ElementsAre(1, 2));
  EXPECT_EQ(state, optimizer.InitialState(2));
}

TEST(ServerOptimizerTest, RefusesUnusableConfigurations) {
  const auto refusal = [](const ServerOptimizerConfig& config) {
    return ServerOptimizer::Make(config).status().message();
  };
  EXPECT_THAT(refusal({Kind::kFedAvg, 0, 0.9, 0.99, 1e-3}), HasSubstr("learning_rate"));
  EXPECT_THAT(refusal({Kind::kFedAvg, std::nan(""), 0.9, 0.99, 1e-3}), HasSubstr("learning_rate"));
  EXPECT_THAT(refusal({Kind::kFedAvgM, 1, 1, 0.99, 1e-3}), HasSubstr("beta1"));
  EXPECT_THAT(refusal({Kind::kFedYogi, 1, 0.9, -0.1, 1e-3}), HasSubstr("beta2"));
  EXPECT_THAT(refusal({Kind::kFedAdagrad, 1, 0.9, 0.99, 0}), HasSubstr("tau"));
  // What a kind does not use is not read.
  EXPECT_TRUE(ServerOptimizer::Make({Kind::kFedAvg, 1, 7, 7, -1}).ok());
}

TEST(ServerOptimizerTest, DeclaresWhereItsStateLives) {
  EXPECT_EQ(Make(Kind::kFedAvg, 1).caps().state_space, StateSpace::kNone);
  for (const Kind kind : {Kind::kFedAvgM, Kind::kFedAdagrad, Kind::kFedAdam, Kind::kFedYogi}) {
    EXPECT_EQ(Make(kind, 1).caps().state_space, StateSpace::kPayload);
  }
}

}  // namespace
}  // namespace fedpeft::aggregation
