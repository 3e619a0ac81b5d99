#include "privacy/secagg/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/core/random.h"

namespace fedpeft::privacy {
namespace {

using ::testing::HasSubstr;

GraphParameters Found(const CohortSpec& cohort) {
  const Result<GraphParameters> parameters = FindGraphParameters(cohort);
  EXPECT_TRUE(parameters.ok()) << cohort.clients << ": " << parameters.status().ToString();
  return parameters.ok() ? *parameters : GraphParameters{};
}

struct Row {
  double corrupt;
  std::uint32_t clients;
  std::array<GraphParameters, 4> parameters;
};
constexpr double kDropOuts[] = {0.05, 0.1, 0.2, 0.3};

void ExpectRows(std::span<const Row> rows, Threat threat) {
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < std::size(kDropOuts); ++i) {
      const GraphParameters found = Found({row.clients, row.corrupt, kDropOuts[i], threat});
      EXPECT_EQ(found.degree, row.parameters[i].degree) << row.clients << " " << row.corrupt << " " << kDropOuts[i];
      EXPECT_EQ(found.threshold, row.parameters[i].threshold) << row.clients << " " << row.corrupt << " " << i;
    }
  }
}

// Of an exact computation with Python's fractions.
TEST(ParametersTest, G2EqualsTheTableOfASemiMaliciousCoordinator) {
  const Row rows[] = {
      {0.1, 100, {{{22, 17}, {32, 22}, {52, 32}, {72, 42}}}},
      {0.1, 200, {{{42, 32}, {56, 39}, {88, 55}, {134, 78}}}},
      {0.1, 500, {{{56, 42}, {84, 59}, {156, 100}, {276, 164}}}},
      {0.1, 1000, {{{66, 49}, {100, 70}, {198, 127}, {418, 250}}}},
      {0.1, 5000, {{{78, 58}, {116, 81}, {264, 169}, {710, 425}}}},
      {0.1, 10000, {{{82, 61}, {122, 85}, {280, 179}, {786, 470}}}},
      {0.05, 1000, {{{52, 37}, {78, 52}, {154, 94}, {314, 179}}}},
      {0.05, 10000, {{{62, 44}, {96, 64}, {206, 126}, {522, 299}}}},
      {0.2, 1000, {{{94, 74}, {140, 104}, {306, 209}, {642, 409}}}},
      {0.2, 10000, {{{116, 91}, {184, 136}, {486, 331}, {1802, 1148}}}},
  };
  ExpectRows(rows, Threat::kSemiMalicious);
}

TEST(ParametersTest, G2EqualsTheTableOfACuriousCoordinator) {
  const Row rows[] = {
      {0.1, 100, {{{16, 11}, {22, 12}, {28, 12}, {34, 12}}}},
      {0.1, 500, {{{32, 21}, {42, 24}, {58, 28}, {76, 31}}}},
      {0.1, 1000, {{{38, 25}, {48, 28}, {66, 32}, {88, 36}}}},
      {0.1, 10000, {{{42, 27}, {54, 31}, {78, 37}, {108, 44}}}},
      {0.2, 1000, {{{52, 37}, {68, 44}, {98, 54}, {140, 67}}}},
      {0.2, 10000, {{{62, 44}, {80, 51}, {122, 67}, {182, 87}}}},
  };
  ExpectRows(rows, Threat::kCurious);
}

/// Degrees and thresholds of fcp's graph_parameter_finder_test.cc (google-parfait/federated-compute), for cohorts of
/// 10^2, 10^3, … clients; its rows of ten clients have another degree here, where small cohorts are complete.
struct FcpRows {
  double corrupt, drop_out;
  std::vector<GraphParameters> parameters;
};

// Fcp takes the smallest threshold that is private, this one the largest that is alive.
TEST(ParametersTest, G1HasFcpsDegreesWithACuriousCoordinator) {
  const FcpRows all[] = {{0.45, 0.45, {{92, 46}, {822, 417}, {3494, 1771}, {5508, 2788}, {6240, 3156}}},
                         {0.33, 0.33, {{68, 34}, {286, 150}, {422, 221}, {480, 251}, {518, 270}}},
                         {0.05, 0.33, {{28, 6}, {72, 24}, {86, 29}, {96, 32}, {102, 34}}},
                         {0.33, 0.05, {{34, 29}, {78, 60}, {92, 70}, {102, 77}, {110, 83}}},
                         {0.05, 0.05, {{12, 6}, {30, 17}, {34, 20}, {36, 21}, {38, 22}}},
                         {0.33, 0, {{26, 25}, {38, 36}, {42, 40}, {46, 44}, {50, 47}}},
                         {0, 0.33, {{26, 2}, {38, 2}, {42, 2}, {46, 2}, {50, 2}}},
                         {0, 0, {{2, 2}, {2, 2}, {2, 2}, {2, 2}, {2, 2}}}};
  for (const FcpRows& rows : all) {
    std::uint32_t clients = 10;
    for (const GraphParameters& row : rows.parameters) {
      const GraphParameters found = Found({clients *= 10, rows.corrupt, rows.drop_out, Threat::kCurious});
      EXPECT_EQ(found.degree, row.degree) << clients << " " << rows.corrupt << " " << rows.drop_out;
      EXPECT_GE(found.threshold, row.threshold) << clients << " " << rows.corrupt << " " << rows.drop_out;
    }
  }
}

// Fcp leaves out the share that a client gives of its own seed, and is one share short where that matters.
TEST(ParametersTest, G1IsLittleAboveFcpWithASemiMaliciousCoordinator) {
  const FcpRows all[] = {{0.3, 0.3, {{92, 62}, {872, 584}, {4822, 3230}, {9388, 6286}, {11136, 7454}}},
                         {0.05, 0.33, {{72, 39}, {398, 223}, {746, 420}, {882, 496}, {970, 545}}},
                         {0.33, 0.05, {{42, 37}, {132, 109}, {178, 146}, {196, 160}, {212, 173}}},
                         {0.05, 0.05, {{16, 11}, {52, 37}, {62, 44}, {68, 48}, {74, 52}}},
                         {0.33, 0, {{26, 26}, {38, 37}, {42, 41}, {46, 45}, {50, 49}}},
                         {0, 0.33, {{68, 35}, {228, 115}, {326, 164}, {372, 187}, {410, 206}}},
                         {0, 0, {{2, 2}, {2, 2}, {2, 2}, {2, 2}, {2, 2}}}};
  for (const FcpRows& rows : all) {
    std::uint32_t clients = 10;
    for (const GraphParameters& row : rows.parameters) {
      const GraphParameters found = Found({clients *= 10, rows.corrupt, rows.drop_out, Threat::kSemiMalicious});
      EXPECT_LE(found.degree, row.degree + 16) << clients << " " << rows.corrupt << " " << rows.drop_out;
      EXPECT_GE(found.degree, row.degree) << clients << " " << rows.corrupt << " " << rows.drop_out;
      EXPECT_GE(found.threshold, row.threshold) << clients << " " << rows.corrupt << " " << rows.drop_out;
    }
  }
}

TEST(ParametersTest, G5SmallCohortsHaveCompleteGraphs) {
  const std::pair<std::uint32_t, std::uint32_t> thresholds[] = {{5, 4},   {8, 5},   {10, 6},  {16, 9},
                                                                {20, 12}, {32, 18}, {50, 28}, {64, 36}};
  for (const auto& [clients, threshold] : thresholds) {
    EXPECT_EQ(Found({clients, 0.1, 0.1}), (GraphParameters{clients - 1, threshold}));
  }
}

TEST(ParametersTest, G5RefusesWhatCannotHold) {
  const auto refusal = [](const CohortSpec& cohort) { return FindGraphParameters(cohort).status(); };
  EXPECT_EQ(refusal({1000, 0.5, 0.25}).code(), Code::kFailedPrecondition);
  EXPECT_THAT(refusal({1000, 0.5, 0.25}).message(), HasSubstr("lower max_corrupt or max_drop_out"));
  EXPECT_TRUE(FindGraphParameters({1000, 0.4, 0.25}).ok());
  EXPECT_EQ(refusal({1000, 0.5, 0.45, Threat::kCurious}).code(), Code::kFailedPrecondition);
  EXPECT_EQ(refusal({5, 0.1, 0.4}).code(), Code::kFailedPrecondition) << "4 of 5 are needed, and 2 may go";
  EXPECT_EQ(refusal({4, 0.1, 0.1}).code(), Code::kInvalidArgument);
  for (const double bad : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_EQ(refusal({100, bad, 0.1}).code(), Code::kInvalidArgument);
    EXPECT_EQ(refusal({100, 0.1, bad}).code(), Code::kInvalidArgument);
  }
}

// 10,000 sessions of 100 clients of which 10 are lost: every secret has its shares.
TEST(ParametersTest, G6LosesNoSecret) {
  const GraphParameters parameters = Found({100, 0.1, 0.1});
  RandomStream draws(1, "sessions");
  std::vector<std::uint32_t> ring(100);
  for (int session = 0; session < 10'000; ++session) {
    ring = RandomPermutation(draws, 100);
    for (std::size_t client = 0; client < 100; ++client) {
      std::uint32_t alive = 0;
      for (std::size_t step = 1; step <= parameters.degree / 2; ++step) {
        alive += (ring[(client + step) % 100] >= 10) + (ring[(client + 100 - step) % 100] >= 10);
      }
      ASSERT_GE(alive, parameters.threshold) << session;
    }
  }
}

TEST(ParametersTest, FractionsAreRoundedDownAsWritten) {
  EXPECT_EQ(FractionOf(0.29, 100), 29u);
  EXPECT_EQ(FractionOf(0.1, 99), 9u);
  EXPECT_EQ(FractionOf(0, 1000), 0u);
}

}  // namespace
}  // namespace fedpeft::privacy
