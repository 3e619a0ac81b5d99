#include "peft/method/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace fedpeft {
namespace {

/// The gradients of the goldens: a different one each step, of both signs and several sizes.
std::vector<float> GradientOf(int step) {
  return {0.1f * static_cast<float>(step), -1.0f, 1e-3f * static_cast<float>(step * step),
          3.0f - static_cast<float>(step)};
}

std::vector<float> AfterFiveSteps(Optimizer& optimizer, double learning_rate) {
  std::vector<float> params = {1.0f, -2.0f, 0.5f, 0.0f};
  for (int step = 1; step <= 5; ++step) optimizer.Step(params, GradientOf(step), learning_rate);
  return params;
}

void ExpectNear(const std::vector<float>& got, const std::vector<double>& want) {
  // A few roundings of float32 values of about 1.
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 5e-7) << i;
}

TEST(OptimizerTest, AdamWEqualsTorch) {
  const auto optimizer = MakeAdamW({0.9, 0.99, 1e-8, 0.1}, 4, {{0, 4}});
  ExpectNear(AfterFiveSteps(*optimizer, 0.05), {0.735740602, -1.70298541, 0.266027302, -0.138408527});
}

TEST(OptimizerTest, SgdWithMomentumEqualsTorch) {
  const auto optimizer = MakeSgd({0.9, 0.1}, 4, {{0, 4}});
  ExpectNear(AfterFiveSteps(*optimizer, 0.05), {0.777797759, -1.22061741, 0.462669432, -0.375918865});
}

TEST(OptimizerTest, PlainSgdIsTheGradientTimesTheRate) {
  const auto optimizer = MakeSgd({}, 2, {{0, 2}});
  std::vector<float> params = {1, 2};
  optimizer->Step(params, std::vector<float>{4, -8}, 0.25);
  EXPECT_EQ(params, (std::vector<float>{0, 4}));
}

TEST(OptimizerTest, RateZeroLeavesEveryBit) {
  for (const bool adam : {true, false}) {
    const auto optimizer = adam ? MakeAdamW({0.9, 0.99, 1e-8, 0.1}, 4, {{0, 4}}) : MakeSgd({0.9, 0.1}, 4, {{0, 4}});
    EXPECT_EQ(AfterFiveSteps(*optimizer, 0), (std::vector<float>{1.0f, -2.0f, 0.5f, 0.0f}));
  }
}

TEST(OptimizerTest, StaysWithinTheTrainedRanges) {
  const auto optimizer = MakeAdamW({0.9, 0.99, 1e-8, 0.1}, 4, {{1, 2}, {3, 4}});
  const std::vector<float> params = AfterFiveSteps(*optimizer, 0.05);
  EXPECT_EQ(params[0], 1.0f);
  EXPECT_EQ(params[2], 0.5f);
  EXPECT_NE(params[1], -2.0f);
}

TEST(ClipGradientsTest, ScalesToTheNormOverAllRanges) {
  std::vector<float> grads = {3, 100, 4};
  const std::vector<FlatRange> ranges = {{0, 1}, {2, 3}};
  EXPECT_DOUBLE_EQ(ClipGradients(grads, ranges, 1), 5);
  EXPECT_NEAR(grads[0], 0.6, 1e-6);
  EXPECT_NEAR(grads[2], 0.8, 1e-6);
  EXPECT_EQ(grads[1], 100);
}

TEST(ClipGradientsTest, LeavesSmallerNormsAndZeroMeansNoClipping) {
  std::vector<float> grads = {3, 4};
  const std::vector<FlatRange> ranges = {{0, 2}};
  EXPECT_DOUBLE_EQ(ClipGradients(grads, ranges, 5), 5);
  EXPECT_DOUBLE_EQ(ClipGradients(grads, ranges, 0), 5);
  EXPECT_EQ(grads, (std::vector<float>{3, 4}));
}

TEST(ClipGradientsTest, ReportsWhatIsNotFinite) {
  std::vector<float> grads = {1, std::numeric_limits<float>::quiet_NaN()};
  const std::vector<FlatRange> ranges = {{0, 2}};
  EXPECT_TRUE(std::isnan(ClipGradients(grads, ranges, 1)));
}

TEST(TrainedRangesTest, JoinsNeighboursAndLeavesOutTheRest) {
  const auto layout = ParamLayout::Make({{"a", {2}, Role::kHead, "s", {}},
                                         {"b", {3}, Role::kHead, "s", {}},
                                         {"c", {4}, Role::kHead, "s", {}},
                                         {"d", {1}, Role::kHead, "s", {}}});
  ASSERT_TRUE(layout.ok());
  const std::vector<FlatRange> ranges = TrainedRanges(**layout, {{true, true, false, true}, {}});
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[0].end, 5u);
  EXPECT_EQ(ranges[1].begin, 9u);
}

}  // namespace
}  // namespace fedpeft
