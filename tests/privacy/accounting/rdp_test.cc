#include "privacy/accounting/rdp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/privacy/accounting/reference.h"

namespace fedpeft::privacy {
namespace {

double EpsilonOf(RdpCurve curve, double rounds, double delta) {
  for (double& value : curve) value *= rounds;
  return EpsilonOfRdp(curve, delta);
}

double At(const RdpCurve& curve, double order) {
  const auto orders = RdpOrders();
  return curve[static_cast<std::size_t>(std::ranges::find(orders, order) - orders.begin())];
}

TEST(RdpTest, E1EqualsOpacusAndIsNotAboveGoogles) {
  for (const testing::SampledRow& row : testing::kSampledRows) {
    const double epsilon = EpsilonOf(RdpOfSampledGaussian(row.sampling, row.noise), row.rounds, row.delta);
    EXPECT_LE(epsilon, row.opacus_rdp * (1 + 1e-6)) << row.sampling << " " << row.noise;
    EXPECT_GE(epsilon, row.opacus_rdp * (1 - 1e-3)) << "it has more orders, and not many more";
    EXPECT_LE(epsilon, row.google_rdp + 1e-6);
  }
}

TEST(RdpTest, E3EqualsTheValuesOfSingleOrders) {
  const struct {
    double sampling, noise, order, value;
  } cases[] = {{.01, 1, 2, 1.7181342207e-4}, {.01, 1, 8, 8.9364390761e-4},  {.01, 1, 32, 11.246275937},
               {.1, 2, 4, 6.0032829645e-3},  {.2, 1.5, 3, 3.6659244084e-2}, {.001, .7, 6, 2.7262704358e-5},
               {.1, 1, 2.5, 0.02350372726},  {.1, 1, 1.5, 0.0117345922}};
  for (const auto& one : cases) {
    const double got = At(RdpOfSampledGaussian(one.sampling, one.noise), one.order);
    EXPECT_NEAR(got / one.value, 1, 2e-9) << one.sampling << " " << one.noise << " " << one.order;
  }
  EXPECT_NEAR(At(RdpOfFixedSizeGaussian(.01, 1), 2) / 5.4350863811e-4, 1, 1e-9);
  EXPECT_NEAR(At(RdpOfFixedSizeGaussian(.1, 2), 4) / 2.4316998010e-2, 1, 1e-9);
}

TEST(RdpTest, E5FixedSizesWithoutReplacement) {
  EXPECT_NEAR(EpsilonOf(RdpOfFixedSizeGaussian(.01, 1), 1000, 1e-5), 3.576111, 1e-6);
  EXPECT_NEAR(EpsilonOf(RdpOfFixedSizeGaussian(.01, .5), 1000, 1e-5), 20.987072, 1e-5);
  EXPECT_NEAR(EpsilonOf(RdpOfFixedSizeGaussian(.01, 2), 1000, 1e-5), 1.445298, 1e-6);
  EXPECT_NEAR(EpsilonOf(RdpOfFixedSizeGaussian(.1, 2), 100, 1e-5), 5.379010, 1e-6);
}

TEST(RdpTest, E5ZeroConcentrated) {
  EXPECT_NEAR(EpsilonOfRdp(RdpOfZcdp(.81), 1e-10), 8.922258, 1e-6);
  EXPECT_NEAR(EpsilonOfRdp(RdpOfZcdp(.5), 1e-5), 4.728507, 1e-6);
  EXPECT_NEAR(EpsilonOfRdp(RdpOfZcdp(.1), 1e-6), 2.143044, 1e-6);
}

TEST(RdpTest, E5RoundsOfDifferentNoiseAddUp) {
  const RdpCurve first = RdpOfSampledGaussian(.01, 1), second = RdpOfSampledGaussian(.01, 2);
  RdpCurve sum = first;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = 500 * (first[i] + second[i]);
  EXPECT_NEAR(EpsilonOfRdp(sum, 1e-5), 1.712239, 1e-6);
}

TEST(RdpTest, E6GrowsWithTheRateAndFallsWithTheNoise) {
  const RdpCurve curve = RdpOfSampledGaussian(.05, 1.2);
  const RdpCurve more = RdpOfSampledGaussian(.06, 1.2), noisier = RdpOfSampledGaussian(.05, 1.3);
  for (std::size_t i = 0; i < curve.size(); ++i) {
    EXPECT_LT(curve[i], more[i]);
    EXPECT_GT(curve[i], noisier[i]);
  }
}

TEST(RdpTest, E9IsFiniteFarOut) {
  for (const double sampling : {1e-8, 1e-4, .5, .999}) {
    for (const double noise : {.1, 1.0, 100.0}) {
      for (const double value : RdpOfSampledGaussian(sampling, noise)) {
        EXPECT_TRUE(std::isfinite(value) && value >= 0) << sampling << " " << noise;
      }
    }
  }
}

TEST(RdpTest, E7NothingSampledCostsNothing) {
  EXPECT_EQ(EpsilonOfRdp(RdpOfSampledGaussian(0, 1), 1e-5), 0);
}

/// Of one client of norm 1 on a grid of `steps` a unit, whose rounding adds to it, in 2^20 values.
DistributedNoise NoiseOfClients(double steps, double noise_multiplier) {
  constexpr double kElements = 0x1p20;
  DistributedNoise noise;
  noise.clients = 100;
  noise.deviation = noise_multiplier * steps / 10;
  noise.l2 = std::sqrt(steps * steps + kElements / 4 + steps + std::sqrt(kElements) / 2);
  noise.l1 = std::min(std::sqrt(kElements), noise.l2) * noise.l2;
  noise.elements = 1 << 20;
  return noise;
}

TEST(RdpTest, ClientsNoiseCostsWhatItsRoundingAdds) {
  // The reference's 16 and 20 bits for 100 clients, at whole orders.
  EXPECT_NEAR(EpsilonOfRdp(RdpOfSkellam(NoiseOfClients(8200, 1)), 1e-5), 4.7629, 5e-4);
  EXPECT_NEAR(EpsilonOfRdp(RdpOfSkellam(NoiseOfClients(131'000, 1)), 1e-5), 4.7528, 2e-4);
  // Of all orders, as the Gaussian's 4.7285 is.
  EXPECT_NEAR(EpsilonOfRdp(RdpOfDistributedGaussian(NoiseOfClients(131'000, 1)), 1e-5), 4.7285, 5e-4);
}

TEST(RdpTest, SampledNoiseOfClientsIsBoundedByTheExactAndTheWhole) {
  const DistributedNoise noise = NoiseOfClients(1e7, 1.2);
  for (const double sampling : {.001, .1, .5}) {
    const RdpCurve exact = RdpOfSampledGaussian(sampling, 1.2), whole = RdpOfSkellam(noise);
    const RdpCurve sampled = RdpOfSkellam(noise, sampling);
    for (std::size_t i = 0; i < exact.size(); ++i) {
      EXPECT_GE(sampled[i], exact[i] * (1 - 1e-4)) << RdpOrders()[i];
      EXPECT_TRUE(sampling > .001 || sampled[i] <= whole[i]) << RdpOrders()[i];
    }
    // At order 3 by hand.
    const auto of = [&](const RdpCurve& curve, double order) {
      return curve[static_cast<std::size_t>(std::ranges::find(RdpOrders(), order) - RdpOrders().begin())];
    };
    const double out = 1 - sampling;
    const double moment = out * out * (1 + 2 * sampling) + 3 * sampling * sampling * out * std::exp(of(whole, 2)) +
                          3 * std::pow(sampling, 3) * std::exp(2 * of(whole, 3));
    EXPECT_NEAR(of(sampled, 3) / (std::log(moment) / 2), 1, 1e-6);
    // At order 2 the theorem is exact.
    EXPECT_NEAR(of(sampled, 2) / of(exact, 2), 1, 1e-3);
  }
  EXPECT_EQ(RdpOfSkellam(noise, 1), RdpOfSkellam(noise));
  EXPECT_EQ(EpsilonOfRdp(RdpOfSkellam(noise, 0), 1e-5), 0);
}

}  // namespace
}  // namespace fedpeft::privacy
