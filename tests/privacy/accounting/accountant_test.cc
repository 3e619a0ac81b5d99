#include "privacy/accounting/accountant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "peft/core/random.h"
#include "privacy/accounting/gaussian.h"
#include "tests/privacy/accounting/reference.h"

namespace fedpeft::privacy {
namespace {

double EpsilonOf(AccountantKind kind, const Release& release, std::uint64_t times, double delta) {
  Accountant accountant(kind);
  EXPECT_TRUE(accountant.Add(release, times).ok());
  return accountant.Epsilon(delta);
}

// The exact values are those of analytic Gaussian mechanisms.
TEST(AccountantTest, E2IsNotBelowGooglesLossDistributionsNorAboveOpacus) {
  for (const testing::SampledRow& row : testing::kSampledRows) {
    const auto rounds = static_cast<std::uint64_t>(row.rounds);
    const double epsilon = EpsilonOf(AccountantKind::kPld, PoissonSum{row.sampling, row.noise}, rounds, row.delta);
    EXPECT_NEAR(epsilon, row.google_pld, 2e-5) << row.sampling << " " << row.noise;
    EXPECT_LE(epsilon, std::max(row.opacus_prv, row.google_pld) + 0.01);
  }
}

TEST(AccountantTest, WithoutSamplingLossDistributionsAreExact) {
  const double exact = EpsilonOf(AccountantKind::kPld, GaussianSum{4}, 10, 1e-5);
  EXPECT_NEAR(exact, 3.341409, 1e-6);
  EXPECT_NEAR(exact, GaussianEpsilon(4 / std::sqrt(10), 1e-5), 1e-9);
}

TEST(AccountantTest, E5RoundsOfDifferentNoiseAddUp) {
  Accountant accountant(AccountantKind::kPld);
  ASSERT_TRUE(accountant.Add(PoissonSum{.01, 1}, 500).ok());
  ASSERT_TRUE(accountant.Add(PoissonSum{.01, 2}, 500).ok());
  EXPECT_NEAR(accountant.Epsilon(1e-5), 1.398654, 1e-4);
}

TEST(AccountantTest, E5CappedSamples) {
  EXPECT_NEAR(EpsilonOf(AccountantKind::kPld, CappedPoissonSum{10'000, .01, 140, 1}, 1000, 1e-5), 1.9712, 2e-4);
  EXPECT_NEAR(EpsilonOf(AccountantKind::kPld, CappedPoissonSum{10'000, .01, 120, 1}, 1000, 1e-5), 5.2972, 2e-4);
  EXPECT_NEAR(EpsilonOf(AccountantKind::kPld, CappedPoissonSum{1000, .1, 128, 1}, 100, 1e-5), 8.1995, 2e-4);
  const double uncapped = EpsilonOf(AccountantKind::kPld, CappedPoissonSum{10'000, .01, 10'000, 1}, 1000, 1e-5);
  EXPECT_NEAR(uncapped, EpsilonOf(AccountantKind::kPld, PoissonSum{.01, 1}, 1000, 1e-5), 1e-5);
}

TEST(AccountantTest, E4FindsTheNoiseOfABudget) {
  const struct {
    double sampling;
    std::uint64_t rounds;
    double delta, epsilon, rdp, pld;
  } cases[] = {{.01, 1000, 1e-5, 1, 1.5132, 1.4147},
               {.01, 1000, 1e-5, 8, .6159, .5863},
               {.1, 100, 1e-5, 4, 1.4816, 1.3861},
               {.001, 2000, 1e-6, 2, .7181, .6230}};
  for (const auto& one : cases) {
    for (const AccountantKind kind : {AccountantKind::kRdp, AccountantKind::kPld}) {
      const Result<double> noise =
          NoiseFor({one.epsilon, one.delta}, kind, [&](Accountant& accountant, double noise_multiplier) {
            return accountant.Add(PoissonSum{one.sampling, noise_multiplier}, one.rounds);
          });
      ASSERT_TRUE(noise.ok());
      EXPECT_NEAR(*noise, kind == AccountantKind::kRdp ? one.rdp : one.pld, 1e-3);
      EXPECT_LE(EpsilonOf(kind, PoissonSum{one.sampling, *noise}, one.rounds, one.delta), one.epsilon);
    }
  }
}

// Where ε falls from much to nothing between two noises next to each other.
TEST(AccountantTest, E4FindsTheNoiseOfBudgetsThatAreNearlyNothing) {
  int tries = 0;
  const Result<double> noise =
      NoiseFor({1e-3, 0.01}, AccountantKind::kRdp, [&](Accountant& accountant, double multiplier) {
        ++tries;
        return accountant.Add(PoissonSum{.01, multiplier});
      });
  ASSERT_TRUE(noise.ok());
  EXPECT_LE(EpsilonOf(AccountantKind::kRdp, PoissonSum{.01, *noise}, 1, 0.01), 1e-3);
  EXPECT_LT(tries, 80);
}

TEST(AccountantTest, CappedSamplesOfEverybody) {
  const double epsilon = EpsilonOf(AccountantKind::kPld, CappedPoissonSum{10, 1, 5, 2}, 1, 1e-5);
  EXPECT_GE(epsilon, EpsilonOf(AccountantKind::kPld, PoissonSum{.5, 2}, 1, 1e-5));
}

TEST(AccountantTest, E6GrowsWithRoundsAndFallsWithDelta) {
  double before = 0;
  for (const std::uint64_t rounds : {1u, 10u, 100u, 1000u}) {
    const double epsilon = EpsilonOf(AccountantKind::kPld, PoissonSum{.05, 1}, rounds, 1e-6);
    EXPECT_GT(epsilon, before);
    EXPECT_LT(EpsilonOf(AccountantKind::kPld, PoissonSum{.05, 1}, rounds, 1e-5), epsilon);
    before = epsilon;
  }
}

TEST(AccountantTest, E7NothingReleasedCostsNothing) {
  for (const AccountantKind kind : {AccountantKind::kPld, AccountantKind::kRdp}) {
    EXPECT_EQ(Accountant(kind).Epsilon(1e-6), 0);
    EXPECT_EQ(EpsilonOf(kind, PoissonSum{0, 1}, 100, 1e-6), 0);
  }
}

// What hides nothing has no ε, and is not taken for something that has.
TEST(AccountantTest, E7WithoutNoiseOrChanceThereIsNoEpsilon) {
  for (const AccountantKind kind : {AccountantKind::kPld, AccountantKind::kRdp}) {
    EXPECT_EQ(Accountant(kind).Add(PoissonSum{.1, 0}).code(), Code::kInvalidArgument);
    EXPECT_EQ(Accountant(kind).Add(GaussianSum{0}).code(), Code::kInvalidArgument);
    Accountant accountant(kind);
    ASSERT_TRUE(accountant.Add(GaussianSum{1}).ok());
    EXPECT_EQ(accountant.Epsilon(0), std::numeric_limits<double>::infinity());
  }
}

TEST(AccountantTest, E6EveryKnobTurnsTheRightWay) {
  RandomStream stream(6, "knobs");
  const auto between = [&](double low, double high) { return low + (high - low) * stream.NextDouble(); };
  for (int i = 0; i < 6; ++i) {
    const PoissonSum sum{between(.001, .2), between(.6, 4)};
    const std::uint64_t rounds = 1 + stream.NextBelow(300);
    const double delta = std::pow(10, -between(3, 8));
    const PoissonSum more{sum.sampling * 1.2, sum.noise_multiplier}, noisier{sum.sampling, sum.noise_multiplier * 1.2};
    for (const AccountantKind kind : {AccountantKind::kPld, AccountantKind::kRdp}) {
      const double epsilon = EpsilonOf(kind, sum, rounds, delta);
      EXPECT_GT(EpsilonOf(kind, more, rounds, delta), epsilon) << sum.sampling << " " << sum.noise_multiplier;
      EXPECT_GT(EpsilonOf(kind, sum, rounds + 1 + rounds / 5, delta), epsilon);
      EXPECT_LT(EpsilonOf(kind, noisier, rounds, delta), epsilon);
      EXPECT_LT(EpsilonOf(kind, sum, rounds, delta * 2), epsilon);
    }
  }
}

TEST(AccountantTest, E9CopesWithWhatIsFarOut) {
  for (const double sampling : {1e-8, .001, .999}) {
    for (const double noise : {.1, 100.0}) {
      for (const std::uint64_t rounds : {1u, 100'000u}) {
        const double pld = EpsilonOf(AccountantKind::kPld, PoissonSum{sampling, noise}, rounds, 1e-6);
        const double rdp = EpsilonOf(AccountantKind::kRdp, PoissonSum{sampling, noise}, rounds, 1e-6);
        EXPECT_TRUE(std::isfinite(pld)) << sampling << " " << noise << " " << rounds;
        EXPECT_LE(pld, rdp * 1.001 + 1e-3) << sampling << " " << noise << " " << rounds;
      }
    }
  }
}

TEST(ReleaseTextTest, ComesBackToTheLastBit) {
  const Release releases[] = {GaussianSum{.1},
                              PoissonSum{1.0 / 3, 1.1},
                              CappedPoissonSum{1000, 1.0 / 7, 200, 2},
                              FixedSizeSum{.01, 1},
                              ZcdpRelease{1e-300},
                              DistributedSum{DistributedSum::Kind::kSkellam, {100, 4.1, 30.2, 77, 1'000'000}, 1.0 / 3},
                              DistributedSum{DistributedSum::Kind::kDiscreteGaussian, {7, 3, 2, 1, 5}}};
  for (const Release& release : releases) {
    const Result<Release> back = ParseRelease(ReleaseText(release));
    ASSERT_TRUE(back.ok()) << ReleaseText(release);
    EXPECT_EQ(*back, release);
  }
  for (const char* text : {"", "poisson", "poisson 0.1", "poisson 0.1 1 2", "poisson 2 1", "laplace 1", "gaussian x"}) {
    EXPECT_EQ(ParseRelease(text).status().code(), Code::kInvalidArgument) << text;
  }
}

TEST(AccountantTest, SaysWhichAccountantCan) {
  Accountant pld(AccountantKind::kPld), rdp(AccountantKind::kRdp);
  EXPECT_EQ(pld.Add(ZcdpRelease{1}).code(), Code::kUnimplemented);
  EXPECT_EQ(pld.Add(FixedSizeSum{.1, 1}).code(), Code::kUnimplemented);
  EXPECT_EQ(rdp.Add(CappedPoissonSum{100, .1, 20, 1}).code(), Code::kUnimplemented);
  EXPECT_EQ(rdp.Add(GaussianSum{0}).code(), Code::kInvalidArgument);
  EXPECT_EQ(rdp.Add(PoissonSum{1.5, 1}).code(), Code::kInvalidArgument);
  EXPECT_EQ(pld.Add(CappedPoissonSum{100, .1, 101, 1}).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace fedpeft::privacy
