// The parameters and their sums, as a run configures them.
#include "server/global_model.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace fedpeft::server
