#include "privacy/crypto/keystream.h"

#include <gtest/gtest.h>

#include "peft/core/random.h"
#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::Counting;
using testing::FromHex;
using testing::KeyOf;

std::string Next(Keystream& stream, std::size_t count) {
  Bytes bytes(count, 0xff);
  stream.Read(bytes);
  return Hex(bytes);
}

// Made with another library.
TEST(KeystreamTest, C1EqualsTheKnownStream) {
  Keystream stream(KeyOf(FromHex("28970e5536131d5fe64e4e706d6b34f4157edb7a0715f3ebb91d16a4e65b7294")));
  EXPECT_EQ(Next(stream, 32), "f3434a68e4cf9cf86b5ff9350a2ef87ccbc518d7595c3bcd7512e0a6d61ed7dd");
  stream.Seek(65536);
  EXPECT_EQ(Next(stream, 16), "466befab520a9758d6bf0a109ce6b59c");
}

TEST(KeystreamTest, C6IsTheSameFromAnywhere) {
  Keystream stream(KeyOf(Counting(3, 32)));
  Bytes whole((std::size_t{1} << 20) + 5);
  stream.Read(whole);
  RandomStream random(1, "chunks");
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t block = random.NextBelow(whole.size() / kBlockBytes);
    const std::size_t from = block * kBlockBytes;
    Bytes part(1 + random.NextBelow(std::min<std::size_t>(whole.size() - from, 5000)));
    stream.Seek(block);
    const std::size_t half = part.size() / 2;  // goes on in the middle of a block
    stream.Read(MutableByteSpan(part).first(half));
    stream.Read(MutableByteSpan(part).subspan(half));
    EXPECT_EQ(part, Bytes(whole.begin() + static_cast<std::ptrdiff_t>(from),
                          whole.begin() + static_cast<std::ptrdiff_t>(from + part.size())));
  }
}

TEST(KeystreamTest, CountsBeyond32Bits) {
  Keystream stream(KeyOf(Counting(3, 32)));
  stream.Seek((std::uint64_t{1} << 32) - 1);
  const std::string both = Next(stream, 32);
  stream.Seek(std::uint64_t{1} << 32);
  EXPECT_EQ(Next(stream, 16), both.substr(32));
  stream.Seek(0);
  EXPECT_NE(Next(stream, 16), both.substr(32));
}

// Every bit of a key reaches the cipher.
TEST(KeystreamTest, A9EveryBitOfTheKeyCounts) {
  Bytes key = Counting(3, 32);
  Keystream stream(KeyOf(key));
  const std::string block = Next(stream, 16);
  for (std::size_t bit = 0; bit < 256; ++bit) {
    key[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Keystream other(KeyOf(key));
    EXPECT_NE(Next(other, 16), block) << bit;
    key[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
  }
}

}  // namespace
}  // namespace fedpeft::privacy
