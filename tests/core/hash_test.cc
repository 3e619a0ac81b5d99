#include "peft/core/hash.h"

#include <gtest/gtest.h>

namespace fedpeft {
namespace {

// The vectors of the TensorBoard record format and RFC 3720.
TEST(HashTest, Crc32cKnownAnswers) {
  EXPECT_EQ(Crc32c(AsBytes(std::string_view("123456789"))), 0xe3069283u);
  EXPECT_EQ(Crc32c(Bytes(32, 0x00)), 0x8a9136aau);
  EXPECT_EQ(Crc32c(Bytes(32, 0xff)), 0x62a8ab43u);
  Bytes ascending(32);
  for (std::size_t i = 0; i < 32; ++i) ascending[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
}

TEST(HashTest, Crc32cContinues) {
  const std::string_view text = "the quick brown fox";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Crc32c(AsBytes(text.substr(cut)), Crc32c(AsBytes(text.substr(0, cut)))), Crc32c(AsBytes(text)));
  }
}

TEST(HashTest, Sha256KnownAnswerAndPieces) {
  const std::string abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(Hex(Sha256Of(AsBytes(std::string_view("abc")))), abc);
  Sha256 pieces;
  pieces.Update(AsBytes(std::string_view("a")));
  pieces.Update(AsBytes(std::string_view("bc")));
  EXPECT_EQ(Hex(pieces.Finish()), abc);
}

}  // namespace
}  // namespace fedpeft
