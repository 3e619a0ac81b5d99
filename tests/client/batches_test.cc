#include "client/batches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedpeft::client {
namespace {

using ::testing::ElementsAre;

TEST(SortedBatchesTest, HoldAtMostSoManyRowsAndTokens) {
  const std::vector<std::uint32_t> lengths = {9, 2, 5, 2, 30, 3, 2};
  EXPECT_THAT(SortedBatches(lengths, /*batch_size=*/3, /*tokens=*/1000),
              ElementsAre(ElementsAre(1, 3, 6), ElementsAre(5, 2, 0), ElementsAre(4)));
  EXPECT_THAT(SortedBatches(lengths, /*batch_size=*/100, /*tokens=*/9),
              ElementsAre(ElementsAre(1, 3, 6, 5), ElementsAre(2), ElementsAre(0), ElementsAre(4)))
      << "a longer row is alone";
  EXPECT_TRUE(SortedBatches({}, 3, 10).empty());
}

}  // namespace
}  // namespace fedpeft::client
