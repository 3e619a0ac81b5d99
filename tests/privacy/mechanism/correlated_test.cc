#include "privacy/mechanism/correlated.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "peft/core/random.h"
#include "privacy/noise/draws.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using Matrix = std::vector<std::vector<double>>;

/// The lower triangular Toeplitz matrix with that first column, which zeros follow.
Matrix Toeplitz(const std::vector<double>& column, std::size_t size) {
  Matrix matrix(size, std::vector<double>(size, 0.0));
  for (std::size_t row = 0; row < size; ++row) {
    for (std::size_t i = 0; i < std::min(column.size(), row + 1); ++i) matrix[row][row - i] = column[i];
  }
  return matrix;
}

Matrix Times(const Matrix& a, const Matrix& b, bool transpose_b = false) {
  Matrix product(a.size(), std::vector<double>(a.size(), 0.0));
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (std::size_t k = 0; k < a.size(); ++k) {
      for (std::size_t j = 0; j < a.size(); ++j) product[i][j] += a[i][k] * (transpose_b ? b[j][k] : b[k][j]);
    }
  }
  return product;
}

/// Of a lower triangular matrix with ones on its diagonal, a column at a time.
Matrix Inverse(const Matrix& matrix) {
  Matrix inverse(matrix.size(), std::vector<double>(matrix.size(), 0.0));
  for (std::size_t column = 0; column < matrix.size(); ++column) {
    for (std::size_t row = column; row < matrix.size(); ++row) {
      double value = row == column ? 1 : 0;
      for (std::size_t i = column; i < row; ++i) value -= matrix[row][i] * inverse[i][column];
      inverse[row][column] = value;
    }
  }
  return inverse;
}

/// Root mean square error of the prefix sums, by a solver that is fed one impulse: B = A·C⁻¹ is Toeplitz too.
double Error(std::uint32_t rounds, std::uint32_t bands) {
  constexpr double kImpulse = 0x1p44;
  BandedSolver solver(bands, 1);
  double sum = 0, squares = 0, all = 0;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    const double z = round == 0 ? kImpulse : 0;
    sum += solver.Next({&z, 1})[0] / kImpulse;
    squares += sum * sum;
    all += squares;
  }
  return std::sqrt(all / rounds);
}

TEST(CorrelatedTest, SensitivityAndErrorAreThoseOfTheReference) {
  struct Row {
    std::uint32_t rounds, separation;
    double sensitivity, error;
  };
  for (const Row& row : {Row{64, 8, 3.707699, 7.6917}, Row{256, 16, 5.576922, 15.4325},
                         Row{1000, 50, 6.796945, 20.9782}, Row{2000, 100, 7.115268, 22.1895}}) {
    const CorrelationSpec spec{row.rounds, row.separation};
    EXPECT_NEAR(spec.Sensitivity(), row.sensitivity, 1e-6);
    EXPECT_NEAR(spec.Sensitivity() * Error(row.rounds, spec.bands()), row.error, 1e-4);
  }
  EXPECT_EQ((CorrelationSpec{20, 7}.participations()), 3u);
  EXPECT_EQ((CorrelationSpec{21, 7}.participations()), 3u);
  EXPECT_EQ((CorrelationSpec{5, 9}.participations()), 1u);
  EXPECT_EQ((CorrelationSpec{5, 9}.bands()), 5u);
}

// No pattern of rounds that are far enough apart moves C·X further.
TEST(CorrelatedTest, NoPatternIsWorseThanTheReckonedOne) {
  for (std::uint32_t rounds = 1; rounds <= 20; ++rounds) {
    for (std::uint32_t separation = 1; separation <= rounds + 1; ++separation) {
      const CorrelationSpec spec{rounds, separation};
      const Matrix c = Toeplitz(CorrelationBands(spec.bands()), rounds);
      double worst = 0;
      std::vector<double> moved(rounds, 0.0);
      const std::function<void(std::uint32_t)> visit = [&](std::uint32_t first) {
        double squares = 0;
        for (const double row : moved) squares += row * row;
        worst = std::max(worst, squares);
        for (std::uint32_t round = first; round < rounds; ++round) {
          for (std::uint32_t row = 0; row < rounds; ++row) moved[row] += c[row][round];
          visit(round + separation);
          for (std::uint32_t row = 0; row < rounds; ++row) moved[row] -= c[row][round];
        }
      };
      visit(0);
      EXPECT_NEAR(std::sqrt(worst), spec.Sensitivity(), 1e-9) << rounds << " " << separation;
    }
  }
}

TEST(CorrelatedTest, D12TheSolverIsTheInverse) {
  constexpr std::size_t kRounds = 40, kValues = 7;
  constexpr double kLarge = 0x1p46;  // what is rounded is less than the test looks at
  for (const std::uint32_t bands : {1u, 2u, 5u, 40u}) {
    RandomStream stream(bands, "noise");
    const Matrix inverse = Inverse(Toeplitz(CorrelationBands(bands), kRounds));
    BandedSolver solver(bands, kValues);
    Matrix z;
    for (std::size_t round = 0; round < kRounds; ++round) {
      z.emplace_back(kValues);
      for (double& value : z.back()) value = std::round(kLarge * stream.NextNormal());
      const std::span<const double> x = solver.Next(z.back());
      for (std::size_t i = 0; i < kValues; ++i) {
        double want = 0;
        for (std::size_t row = 0; row <= round; ++row) want += inverse[round][row] * z[row][i];
        EXPECT_NEAR(x[i] / kLarge, want / kLarge, 1e-10);
        EXPECT_EQ(x[i], std::round(x[i]));
      }
    }
  }
}

TEST(CorrelatedTest, D12NoiseHasTheCovarianceThatIsClaimed) {
  constexpr std::size_t kRounds = 16, kDraws = 200'000;
  constexpr double kDeviation = 0x1p20;
  fedpeft::testing::SeededRandom random(1);
  for (const std::uint32_t bands : {4u, 16u}) {
    CorrelatedNoise noise(RandomSecret<32>(random), bands, kDraws, kDeviation);
    Matrix drawn(kRounds);
    for (std::uint32_t round = 1; round <= kRounds; ++round) {
      noise.Advance(round);
      for (std::size_t part = 0; part < NoiseParts(kDraws); ++part) {
        const std::span<const double> values = noise.Of(round, part);
        drawn[round - 1].insert(drawn[round - 1].end(), values.begin(), values.end());
      }
    }
    const Matrix inverse = Inverse(Toeplitz(CorrelationBands(bands), kRounds));
    const Matrix want = Times(inverse, inverse, true);  // (CᵀC)⁻¹
    for (std::size_t i = 0; i < kRounds; ++i) {
      ASSERT_EQ(drawn[i].size(), kDraws);
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < kDraws; ++k) sum += drawn[i][k] * drawn[j][k];
        const double sd = std::sqrt((want[i][i] * want[j][j] + want[i][j] * want[i][j]) / kDraws);
        EXPECT_NEAR(sum / kDraws / (kDeviation * kDeviation), want[i][j], 6 * sd) << i << " " << j;
      }
    }
  }
}

std::vector<double> All(CorrelatedNoise& noise, std::uint32_t round, std::size_t values) {
  std::vector<double> all;
  for (std::size_t part = 0; part < NoiseParts(values); ++part) {
    const std::span<const double> made = noise.Of(round, part);
    all.insert(all.end(), made.begin(), made.end());
  }
  return all;
}

TEST(CorrelatedTest, WhoeverHasTheKeyMakesTheSameNoiseAgain) {
  constexpr std::size_t kValues = kNoisePart + 5;
  fedpeft::testing::SeededRandom random(2);
  const SecretKey key = RandomSecret<32>(random);
  CorrelatedNoise one(key.Clone(), 3, kValues, 100), other(key.Clone(), 3, kValues, 100);
  CorrelatedNoise stranger(RandomSecret<32>(random), 3, kValues, 100);
  std::vector<double> before;
  for (std::uint32_t round = 1; round <= 6; ++round) {
    const std::vector<double> made = All(one, round, kValues);
    EXPECT_EQ(made.size(), kValues);
    EXPECT_EQ(All(one, round, kValues), made) << "the round is repeated";
    EXPECT_NE(made, before);
    EXPECT_NE(All(stranger, round, kValues), made);
    before = made;
  }
  EXPECT_EQ(All(other, 6, kValues), before) << "after a restart";
}

}  // namespace
}  // namespace fedpeft::privacy
