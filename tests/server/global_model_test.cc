// The parameters and their sums, as a run configures them.
#include "server/global_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "configs/clip_groups.h"
#include "tests/server/small_run.h"

namespace fedpeft::server {
namespace {

TEST(GlobalModelTest, TheGridIsAsFineAsTheUpdatesOfTheRoundAllow) {
  RunSpec run = testing::SmallRun();
  run.limits.max_clients = 10'000;
  EXPECT_EQ(GlobalModel::Make(run)->BeginSum(1)->grid_exponent(), 24) << "everybody who may join";
  run.schedule[0].cohort = 4294;
  EXPECT_EQ(GlobalModel::Make(run)->BeginSum(1)->grid_exponent(), 26) << "what the checker of runs goes by too";
  run.schedule[0].cohort = 4295;
  EXPECT_EQ(GlobalModel::Make(run)->BeginSum(1)->grid_exponent(), 25);
}

/// Of a round of one client whose update is all `value`.
aggregation::Reduced Reduce(const GlobalModel& model, std::uint32_t round, float value, double clip = 1) {
  const std::unique_ptr<RoundSum> sum = *model.OpenSum(round, clip);
  const std::vector<float> update(model.Payload(round).size, value);
  const ByteSpan bytes = AsBytes(std::span<const float>(update));
  const auto reader = [bytes](std::uint64_t offset, MutableByteSpan out) {
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return OkStatus();
  };
  EXPECT_TRUE(sum->Add(bytes.size(), reader, 1).ok());
  return sum->Finish()->reduced;
}

TEST(GlobalModelTest, D2GroupsHaveTheirPartOfTheNorm) {
  RunSpec run = testing::SmallRun(1);
  run.schedule[0].cohort = 1;
  run.schedule[0].reducer.weights = ReducerSpec::Weights::kUniform;
  run.privacy.mechanism = PrivacySpec::Mechanism::kCentral;
  run.privacy.population = 1;
  run.privacy.noise_multiplier = 1e-3;
  run.privacy.clip_groups = {{{"head"}, 0.36}};
  const std::vector<float> mean = Reduce(*GlobalModel::Make(run), 1, 1, /*clip=*/0.5).mean;
  double squares[2] = {0, 0};
  UpdateClipGroups(run, 1)->ForEach(0, std::span(mean), [&](std::span<const float> part, std::size_t group) {
    for (const float value : part) squares[group] += std::pow(double{value}, 2);
  });
  EXPECT_NEAR(std::sqrt(squares[0]), 0.5 * 0.6, 0.01) << "the head";
  EXPECT_NEAR(std::sqrt(squares[1]), 0.5 * 0.8, 0.01);
}

/// AdaLoRA from rank 4 to 1 on two linears.
RunSpec FallingRanks() {
  RunSpec run = testing::SmallRun(3);
  AdaLoraConfig config;
  config.lora.rank = 4;
  config.lora.target_modules = {"query", "value"};
  config.target_rank = 1;
  run.plan.method = config;
  run.schedule[0].server_optimizer.kind = ServerOptimizerSpec::Kind::kFedAdam;
  return run;
}

void Play(GlobalModel& model, std::uint32_t round, float value) {
  const auto next = model.Step(round, Reduce(model, round, value));
  ASSERT_TRUE(next.ok()) << next.status().ToString();
  model.Replace(*next);
}

std::size_t RanksInUse(const GlobalModel& model) {
  std::size_t used = 0;
  const ParamVector& params = model.checkpoint()->params;
  for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
    if (params.layout()->tensors()[i].role != Role::kRankMask) continue;
    for (const float in_use : params.tensor(i)) used += in_use != 0 ? 1 : 0;
  }
  return used;
}

TEST(GlobalModelTest, RanksFallToTheBudgetAndTheirBytesWithThem) {
  GlobalModel model = std::move(GlobalModel::Make(FallingRanks())).value();
  // Of each rank in use a row of A, a column of B (width 4), a value of E and, up, a score; down the masks.
  const auto up = [](std::size_t ranks) { return ranks * (4 + 4 + 1 + 1) + 15; };
  const auto down = [](std::size_t ranks) { return sizeof(float) * (8 + ranks * (4 + 4 + 1) + 15); };
  std::size_t ranks = 8;
  for (std::uint32_t round = 1; round <= 3; ++round) {
    EXPECT_EQ(model.Payload(round).size, up(ranks));
    EXPECT_EQ(model.Encode(*model.checkpoint()).size(), down(ranks));
    Play(model, round, 0.25f);
    const std::size_t before = std::exchange(ranks, RanksInUse(model));
    EXPECT_LE(ranks, before);
  }
  EXPECT_EQ(ranks, 2u);
  EXPECT_EQ(model.max_update_bytes(), sizeof(float) * up(8));
}

TEST(GlobalModelTest, ScoresAreMeansAndNoOptimisersState) {
  GlobalModel model = std::move(GlobalModel::Make(FallingRanks())).value();
  Play(model, 1, 0.25f);
  const Checkpoint& checkpoint = *model.checkpoint();
  for (std::size_t i = 0; i < checkpoint.params.layout()->tensors().size(); ++i) {
    if (checkpoint.params.layout()->tensors()[i].role != Role::kRankScore) continue;
    for (const float score : checkpoint.params.tensor(i)) EXPECT_TRUE(score == 0.25f || score == 0);
    const std::size_t at = checkpoint.params.layout()->offset(i);
    for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ(checkpoint.optimizer.at("momentum")[at + k], 0);
  }
}

TEST(GlobalModelTest, RanksSurviveARestart) {
  GlobalModel model = std::move(GlobalModel::Make(FallingRanks())).value();
  Play(model, 1, 0.25f);
  GlobalModel again = std::move(GlobalModel::Make(FallingRanks())).value();
  const Digest want = Sha256Of(model.Encode(*model.checkpoint()));
  Checkpoint stored{model.checkpoint()->params.Clone(), model.checkpoint()->optimizer};
  ASSERT_TRUE(again.Restore(std::move(stored), want).ok());
  EXPECT_EQ(again.Payload(2).digest, model.Payload(2).digest);
  Play(model, 2, 0.5f);
  Play(again, 2, 0.5f);
  EXPECT_EQ(again.Encode(*again.checkpoint()), model.Encode(*model.checkpoint()));
}

}  // namespace
}  // namespace fedpeft::server
