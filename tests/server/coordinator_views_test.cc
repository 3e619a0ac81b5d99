// Rounds that share different parts of the parameters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/checkpoint.h"
#include "tests/server/coordinator_fixture.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using testing::Federation;
using ::testing::HasSubstr;
using testing::PlayRun;
using testing::RoundsOf;
using testing::SmallRun;

/// RoLoRA: A and B in turn; A and B have 8 values each, the head 15.
RunSpec InTurn(std::uint32_t rounds) {
  RunSpec run = SmallRun(rounds);
  run.schedule[0].views = {{.local = {}, .frozen = {"lora_a"}, .layers = {}},
                           {.local = {}, .frozen = {"lora_b"}, .layers = {}}};
  run.schedule[0].server_optimizer.kind = ServerOptimizerSpec::Kind::kFedAdam;
  run.limits.keep_rounds = 10;
  return run;
}

Checkpoint After(const std::string& folder, const RunSpec& run, std::uint32_t round) {
  const std::string path = StateReader::Open(folder)->ParamsPath(round).value();
  return ReadCheckpoint(path, *PlanLayout(run.plan)).value();
}

bool Same(const Checkpoint& a, const Checkpoint& b, std::size_t tensor) {
  return std::ranges::equal(a.params.tensor(tensor), b.params.tensor(tensor));
}

TEST(CoordinatorViewsTest, ARoundChangesAndCountsWhatItsViewShares) {
  TempFolder folder;
  const RunSpec run = InTurn(3);
  PlayRun(folder.path(), run, 3, 1);
  const auto rounds = RoundsOf(folder.path());
  for (std::uint32_t round = 1; round <= 3; ++round) {
    EXPECT_EQ(rounds[round].bytes_up, 3 * 23 * sizeof(float));
    EXPECT_EQ(rounds[round].bytes_down, 3 * 31 * sizeof(float));
    const Checkpoint before = After(folder.path(), run, round - 1), after = After(folder.path(), run, round);
    const std::size_t frozen = round % 2 == 1 ? 0 : 1;
    EXPECT_TRUE(Same(before, after, frozen)) << round;
    EXPECT_FALSE(Same(before, after, 1 - frozen)) << round;
    EXPECT_FALSE(Same(before, after, 2)) << round;
  }
}

TEST(CoordinatorViewsTest, OptimisersStateStaysWithItsParameters) {
  TempFolder folder;
  const RunSpec run = InTurn(2);
  PlayRun(folder.path(), run, 3, 1);
  const Checkpoint one = After(folder.path(), run, 1), two = After(folder.path(), run, 2);
  const auto& first = one.optimizer.at("momentum");
  const auto& second = two.optimizer.at("momentum");
  ASSERT_EQ(first.size(), 31u);
  const std::span a(first), b(second);
  EXPECT_TRUE(std::ranges::all_of(a.subspan(0, 8), [](float v) { return v == 0; }));
  EXPECT_TRUE(std::ranges::equal(a.subspan(8, 8), b.subspan(8, 8)));
  EXPECT_FALSE(std::ranges::equal(a.subspan(0, 8), b.subspan(0, 8)));
}

TEST(CoordinatorViewsTest, DyingBetweenViewsGivesTheSameParameters) {
  TempFolder undisturbed, folder;
  const RunSpec run = InTurn(4);
  const Digest want = PlayRun(undisturbed.path(), run, 3, 1);
  for (std::uint32_t round = 1; round <= 4; ++round) {
    Federation federation(folder.path(), run);
    federation.JoinAll(3);
    federation.PlayRound(3);
    if (round == 4) federation.coordinator().Wait();
    while (RoundsOf(folder.path()).back().round < round) std::this_thread::yield();
  }
  EXPECT_EQ(testing::LastHash(folder.path()), want);
}

TEST(CoordinatorViewsTest, AnUpdateOfAnotherViewIsRefused) {
  TempFolder folder;
  Federation federation(folder.path(), InTurn(2));
  federation.JoinAll(3);
  const auto task = federation.TakeTrain(3)[0];
  Bytes whole(31 * sizeof(float));
  EXPECT_THAT(federation.Upload(task.first, federation.Manifest(task.second, whole), whole).message(),
              HasSubstr("has 124 bytes, want 92"));
  UploadManifest other = federation.Manifest(task.second, Bytes(92));
  other.payload = federation.payload(2).digest;
  EXPECT_THAT(federation.Upload(task.first, other, Bytes(92)).message(), HasSubstr("has payload"));
}

}  // namespace
}  // namespace fedpeft::server
