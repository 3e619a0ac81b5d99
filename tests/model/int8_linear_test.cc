#include "peft/model/int8_linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "peft/model/fastest.h"
#include "peft/model/layers.h"

namespace fedpeft {
namespace {

using torch::Tensor;

/// Of products in bytes, for values that are normal: both sides are rounded to steps of about 3/127.
constexpr double kNear = 0.02;

double Distance(const Tensor& a, const Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

/// y, and the gradients of x and bias from one that is not laid out row by row.
struct Passed {
  Tensor y, of_x, of_bias;
};

Passed Pass(const FrozenLinear& linear, const Tensor& x) {
  FrozenLinear with = linear;
  const Tensor input = x.detach().requires_grad_(true);
  if (linear.bias.defined()) with.bias = linear.bias.detach().requires_grad_(true);
  const Tensor y = with(input);
  torch::manual_seed(3);
  y.backward(torch::randn({y.size(1), y.size(0)}).t());
  return {y.detach(), input.grad(), linear.bias.defined() ? with.bias.grad() : Tensor()};
}

class Int8LinearTest : public ::testing::TestWithParam<std::tuple<std::int64_t, std::int64_t, std::int64_t>> {};

TEST_P(Int8LinearTest, IsNearTheFloatsAndSoAreItsGradients) {
  const auto [n, in, out] = GetParam();
  torch::manual_seed(1);
  // Rows of W, x and of the gradient are of very different sizes: each has its own scale.
  const Tensor sizes = torch::logspace(-3, 3, out).unsqueeze(1);
  const Tensor weight = torch::randn({out, in}) * sizes, bias = torch::randn({out});
  const Tensor x = torch::randn({n, in}) * torch::logspace(-2, 2, n).unsqueeze(1);
  for (const Tensor& with : {bias, Tensor()}) {
    const Passed want = Pass({weight, with}, x), got = Pass({weight, with, ToInt8(weight)}, x);
    EXPECT_EQ(got.y.scalar_type(), torch::kFloat32);
    EXPECT_LT(Distance(got.y, want.y), kNear);
    EXPECT_LT(Distance(got.of_x, want.of_x), kNear);
    if (with.defined()) {
      EXPECT_TRUE(torch::allclose(got.of_bias, want.of_bias, 1e-6, 1e-6));
    }
    for (std::int64_t i = 0; i < n; ++i) EXPECT_LT(Distance(got.y[i], want.y[i]), 2 * kNear) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(OddSizes, Int8LinearTest,
                         ::testing::Values(std::tuple{33, 129, 65}, std::tuple{7, 384, 1536}, std::tuple{64, 64, 64},
                                           std::tuple{100, 1000, 77}));

TEST(Int8LinearOneTest, WhatBytesHoldIsExact) {
  const Tensor weight = torch::tensor({{127.0f, -1.0f, 3.0f}, {0.0f, 64.0f, -127.0f}});
  const Tensor x = torch::tensor({{1.0f, 127.0f, 0.0f}});
  const Passed got = Pass({weight, torch::tensor({0.5f, -0.5f}), ToInt8(weight)}, x);
  EXPECT_TRUE(torch::equal(got.y, torch::tensor({{0.5f, 64.0f * 127.0f - 0.5f}})));
}

TEST(Int8LinearOneTest, ARowOfWeightsThatIsZeroGivesTheBias) {
  const Tensor weight = torch::zeros({4, 16});
  const Passed got = Pass({weight, torch::ones({4}), ToInt8(weight)}, torch::randn({3, 16}));
  EXPECT_TRUE(torch::equal(got.y, torch::ones({3, 4})));
  EXPECT_TRUE(torch::equal(got.of_x, torch::zeros({3, 16})));
}

TEST(Int8LinearOneTest, WhatIsNotFiniteStaysSo) {
  const Tensor weight = torch::randn({4, 16});
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    Tensor x = torch::randn({2, 16});
    x[1][3] = bad;
    const Tensor y = Int8Linear(x, ToInt8(weight), {});
    EXPECT_TRUE(y[0].isfinite().all().item<bool>());
    EXPECT_FALSE(y[1].isfinite().any().item<bool>()) << bad;
  }
}

TEST(Int8LinearOneTest, TheResultDoesNotDependOnTheOtherRows) {
  torch::manual_seed(2);
  const Tensor weight = torch::randn({48, 96}), x = torch::randn({70, 96});
  const Int8Weight int8 = ToInt8(weight);
  const Tensor all = Int8Linear(x, int8, {});
  EXPECT_TRUE(torch::equal(Int8Linear(x.slice(0, 11, 12), int8, {}), all.slice(0, 11, 12)));
  EXPECT_TRUE(torch::equal(Int8Linear(x.slice(0, 20, 61), int8, {}), all.slice(0, 20, 61)));
}

TEST(Int8LinearOneTest, ATransposedWeightIsQuantisedAsItIsRead) {
  torch::manual_seed(2);
  const Tensor weight = torch::randn({48, 96});
  EXPECT_TRUE(torch::equal(ToInt8(weight.t().contiguous().t()).values, ToInt8(weight).values));
}

TEST(FastestTest, ANarrowFormatIsWorthItWhereItIsAQuarterFaster) {
  constexpr double kNever = INFINITY;
  EXPECT_EQ((DtypeTimes{1, 0.9, 0.85}).Fastest(), BaseDtype::kFloat32);
  EXPECT_EQ((DtypeTimes{1, 0.7, 0.85}).Fastest(), BaseDtype::kBfloat16);
  EXPECT_EQ((DtypeTimes{1, 0.7, 0.4}).Fastest(), BaseDtype::kInt8);
  EXPECT_EQ((DtypeTimes{1, kNever, 0.4}).Fastest(), BaseDtype::kInt8);
  EXPECT_EQ((DtypeTimes{1, kNever, kNever}).Fastest(), BaseDtype::kFloat32);
}

TEST(FastestTest, Int8IsForBasesThatStayNearWhatTheyAre) {
  EXPECT_EQ((DtypeTimes{1, 0.7, 0.4, 0.09}).Fastest(), BaseDtype::kInt8);
  EXPECT_EQ((DtypeTimes{1, 0.7, 0.4, 0.3}).Fastest(), BaseDtype::kBfloat16);
  EXPECT_EQ((DtypeTimes{1, 0.9, 0.4, 0.3}).Fastest(), BaseDtype::kFloat32);
  EXPECT_EQ((DtypeTimes{1, 0.9, 0.4, NAN}).Fastest(), BaseDtype::kFloat32);
}

TEST(FastestTest, IsMeasuredOfAnyBase) {
  const torch::NoGradGuard as_callers_have_it;
  for (const BaseShape& shape :
       {BaseShape{"bert", 32, 2, 4, 64, 50, 40}, BaseShape{"bert", 384, 6, 12, 1536, 50, 40}}) {
    const DtypeTimes times = MeasureDtypes(shape);
    EXPECT_GT(times.float32, 0);
    EXPECT_GT(times.bfloat16, 0);
    EXPECT_GT(times.int8, 0);
    EXPECT_TRUE(Int8IsExact() || !std::isfinite(times.int8));  // exact ones may still be slow beyond measure
    EXPECT_TRUE(std::isfinite(times.float32));
  }
}

}  // namespace
}  // namespace fedpeft
