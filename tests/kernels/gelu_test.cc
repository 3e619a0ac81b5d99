#include "peft/kernels/gelu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace fedpeft {
namespace {

/// So many numbers from −10 to 10, none of which the other sizes have.
std::vector<float> Spread(std::int64_t n) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) {
    values.push_back(static_cast<float>(20 * (static_cast<double>(i) + 0.3) / static_cast<double>(n) - 10));
  }
  return values;
}

double Below(double x) {
  return 0.5 * std::erfc(-x / std::numbers::sqrt2);
}

TEST(GeluTest, IsXTimesTheNormalDistributionAtAllSizes) {
  for (const GeluKernel& kernel : GeluKernelsOfProcessor()) {
    for (const std::int64_t n : {0, 1, 15, 16, 17, 33, 4001}) {
      SCOPED_TRACE(::testing::Message() << kernel.name << ", " << n);
      const std::vector<float> x = Spread(n), d_y(x.size(), 3);
      std::vector<float> y(x.size() + 1, 7), d_x(x.size() + 1, 7);
      kernel.forward(x.data(), n, y.data());
      kernel.backward(x.data(), d_y.data(), n, d_x.data());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double at = x[i], density = std::exp(-at * at / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
        EXPECT_NEAR(y[i], at * Below(at), 1e-6 * std::max(1.0, std::abs(at))) << at;
        EXPECT_NEAR(d_x[i], 3 * (Below(at) + at * density), 2e-6) << at;
      }
      EXPECT_EQ(y.back(), 7);
      EXPECT_EQ(d_x.back(), 7);
    }
  }
}

TEST(GeluTest, EndsAreExactAndWhatIsNoNumberStaysNone) {
  constexpr float kLarge = 1e30f;
  for (const GeluKernel& kernel : GeluKernelsOfProcessor()) {
    const std::vector<float> x = {0, kLarge, -kLarge, NAN, INFINITY, -INFINITY}, one(x.size(), 1);
    std::vector<float> y(x.size()), d_x(x.size());
    kernel.forward(x.data(), std::ssize(x), y.data());
    kernel.backward(x.data(), one.data(), std::ssize(x), d_x.data());
    EXPECT_EQ(y[0], 0);
    EXPECT_EQ(y[1], kLarge);
    EXPECT_EQ(y[2], 0);
    EXPECT_NEAR(d_x[0], 0.5, 1e-7);
    EXPECT_EQ(d_x[1], 1);
    EXPECT_EQ(d_x[2], 0);
    for (std::size_t i = 3; i < 6; ++i) EXPECT_FALSE(std::isfinite(y[i]) && std::isfinite(d_x[i])) << x[i];
  }
}

}  // namespace
}  // namespace fedpeft
