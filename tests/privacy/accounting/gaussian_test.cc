#include "privacy/accounting/gaussian.h"

#include <gtest/gtest.h>

namespace fedpeft::privacy {
namespace {

TEST(GaussianTest, E5FindsTheNoise) {
  EXPECT_NEAR(GaussianNoise(1, 1e-5), 3.730632, 1e-6);
  EXPECT_NEAR(GaussianNoise(.5, 1e-6), 8.057618, 1e-6);
  EXPECT_NEAR(GaussianNoise(2, 1e-6), 2.230476, 1e-6);
  EXPECT_NEAR(GaussianNoise(8, 1e-5), 0.600229, 1e-6);
}

// The textbook's √(2 ln(1.25/δ))/ε is too little for an ε beyond 8.5.
TEST(GaussianTest, TakesMoreThanTheTextbooksNoiseWhereThatIsTooLittle) {
  EXPECT_NEAR(GaussianNoise(10, 1e-5), .4999, 1e-4);
  EXPECT_NEAR(GaussianNoise(20, 1e-5), .2900, 1e-4);
  EXPECT_GT(GaussianDelta(.4845, 10), 1e-5);
}

TEST(GaussianTest, EpsilonAndNoiseAreInverse) {
  for (const double epsilon : {.01, 1.0, 30.0}) {
    for (const double delta : {1e-3, 1e-12}) {
      EXPECT_NEAR(GaussianEpsilon(GaussianNoise(epsilon, delta), delta) / epsilon, 1, 1e-6) << epsilon << " " << delta;
    }
  }
  EXPECT_EQ(GaussianEpsilon(1e6, 1e-3), 0);
}

}  // namespace
}  // namespace fedpeft::privacy
