#include "privacy/crypto/secret.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

#include "privacy/crypto/random_source.h"
#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::Counting;
using ::testing::Each;
using testing::KeyOf;

TEST(SecretTest, C8IsWipedWhenItDies) {
  alignas(SecretKey) std::array<std::uint8_t, sizeof(SecretKey)> memory{};
  auto* const secret = new (memory.data()) SecretKey(KeyOf(Counting(1, 32)));
  EXPECT_EQ(memory[31], 32);
  secret->~SecretKey();
  EXPECT_THAT(memory, Each(0));
}

TEST(SecretTest, C8MovesLeaveNothing) {
  SecretKey from = KeyOf(Counting(1, 32));
  SecretKey to(std::move(from));
  EXPECT_THAT(from.bytes(), Each(0));  // NOLINT(bugprone-use-after-move): what is left is the point
  EXPECT_EQ(to.bytes()[0], 1);
  SecretKey assigned;
  assigned = std::move(to);
  EXPECT_THAT(to.bytes(), Each(0));  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(assigned.bytes()[31], 32);
  EXPECT_EQ(Hex(assigned.Clone().bytes()), Hex(assigned.bytes()));
}

TEST(RandomSourceTest, FillsAllBytes) {
  Bytes bytes((std::size_t{3} << 20) + 17);
  RandomSource::System().Fill(bytes);
  const auto zeros = static_cast<double>(std::ranges::count(bytes, 0));
  const auto size = static_cast<double>(bytes.size());
  EXPECT_NEAR(zeros / size, 1.0 / 256, 5e-4);  // 14 standard deviations
  EXPECT_NE(Hex(RandomSecret<32>(RandomSource::System()).bytes()),
            Hex(RandomSecret<32>(RandomSource::System()).bytes()));
}

}  // namespace
}  // namespace fedpeft::privacy
