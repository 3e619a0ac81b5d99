#include "privacy/crypto/aead.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::Counting;
using testing::FromHex;
using testing::KeyOf;

Nonce NonceOf(const Bytes& bytes) {
  Nonce nonce;
  std::copy(bytes.begin(), bytes.end(), nonce.begin());
  return nonce;
}

// McGrew and Viega's test case 16, which NIST took over.
TEST(AeadTest, C2EqualsThePublishedVector) {
  const SecretKey key = KeyOf(FromHex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
  const Bytes plain = FromHex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657"
      "ba637b39");
  const Bytes associated = FromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const Bytes sealed = Seal(key, NonceOf(FromHex("cafebabefacedbaddecaf888")), associated, plain);
  EXPECT_EQ(
      Hex(sealed),
      "cafebabefacedbaddecaf888"
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a"
      "0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
  Bytes opened(plain.size());
  ASSERT_TRUE(Open(key, associated, sealed, opened).ok());
  EXPECT_EQ(opened, plain);
}

TEST(AeadTest, C5RefusesAnyChange) {
  const SecretKey key = KeyOf(Counting(1, 32));
  const Bytes plain = Counting(7, 80), associated = Counting(9, 40);
  const Bytes sealed = Seal(key, RandomSource::System(), associated, plain);
  const auto flipped = [](const Bytes& bytes, std::size_t at) {
    Bytes changed = bytes;
    changed[at] ^= 0x10;
    return changed;
  };
  Bytes opened(plain.size());
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    EXPECT_EQ(Open(key, associated, flipped(sealed, i), opened).code(), Code::kDataLoss) << i;
    EXPECT_EQ(opened, Bytes(plain.size())) << "what does not open is not given away";
  }
  for (std::size_t i = 0; i < associated.size(); ++i) {
    EXPECT_EQ(Open(key, flipped(associated, i), sealed, opened).code(), Code::kDataLoss) << i;
  }
  EXPECT_EQ(Open(KeyOf(Counting(2, 32)), associated, sealed, opened).code(), Code::kDataLoss);
  EXPECT_TRUE(Open(key, associated, sealed, opened).ok());
}

TEST(AeadTest, RefusesAnotherLength) {
  const SecretKey key = KeyOf(Counting(1, 32));
  const Bytes sealed = Seal(key, RandomSource::System(), {}, Counting(0, 8));
  Bytes opened(8);
  for (const std::size_t size : {std::size_t{0}, kSealBytes - 1, kSealBytes, sealed.size() - 1}) {
    EXPECT_EQ(Open(key, {}, ByteSpan(sealed).first(size), opened).code(), Code::kInvalidArgument) << size;
  }
}

TEST(AeadTest, SealsNothing) {
  const SecretKey key = KeyOf(Counting(1, 32));
  const Bytes sealed = Seal(key, RandomSource::System(), Counting(3, 3), {});
  EXPECT_EQ(sealed.size(), kSealBytes);
  EXPECT_TRUE(Open(key, Counting(3, 3), sealed, {}).ok());
}

}  // namespace
}  // namespace fedpeft::privacy
