#include "peft/core/status.h"

#include <gtest/gtest.h>

namespace fedpeft {
namespace {

Result<int> Half(int x) {
  if (x % 2 != 0) return InvalidArgument("x: got " + std::to_string(x) + ", want an even number");
  return x / 2;
}

Result<int> Quarter(int x) {
  ASSIGN_OR_RETURN(const int half, Half(x));
  return Half(half);
}

TEST(StatusTest, ResultCarriesTheValueOrTheFailure) {
  EXPECT_EQ(*Quarter(8), 2);
  const Result<int> odd = Quarter(6);
  EXPECT_FALSE(odd.ok());
  EXPECT_EQ(odd.status().ToString(), "INVALID_ARGUMENT: x: got 3, want an even number");
}

TEST(StatusTest, AnnotateNamesTheThingFirst) {
  EXPECT_EQ(NotFound("gone").Annotate("a.safetensors").message(), "a.safetensors: gone");
  EXPECT_TRUE(OkStatus().Annotate("x").ok());
}

TEST(StatusTest, CodesAreNumberedAsGrpcs) {
  EXPECT_EQ(static_cast<int>(Code::kUnauthenticated), 16);
  EXPECT_EQ(CodeName(Code::kDataLoss), "DATA_LOSS");
}

}  // namespace
}  // namespace fedpeft
