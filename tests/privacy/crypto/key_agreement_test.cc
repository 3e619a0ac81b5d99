#include "privacy/crypto/key_agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::FromHex;
using ::testing::HasSubstr;
using testing::KeyOf;

constexpr Suite kSuites[] = {Suite::kX25519, Suite::kP256};

AgreementKey KeyPair(Suite suite, std::string_view secret) {
  Result<AgreementKey> key = AgreementKey::Of(suite, KeyOf(FromHex(secret)));
  EXPECT_TRUE(key.ok()) << key.status().ToString();
  return std::move(*key);
}

std::string Agreed(const AgreementKey& key, ByteSpan peer) {
  const Result<SecretKey> common = key.Agree(peer);
  return common.ok() ? Hex(common->bytes()) : common.status().ToString();
}

// RFC 7748, 6.1.
TEST(KeyAgreementTest, C2EqualsTheRfcsVector) {
  const AgreementKey alice =
      KeyPair(Suite::kX25519, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const AgreementKey bob = KeyPair(Suite::kX25519, "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  EXPECT_EQ(Hex(alice.public_key()), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(Hex(bob.public_key()), "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const std::string common = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  EXPECT_EQ(Agreed(alice, bob.public_key()), common);
  EXPECT_EQ(Agreed(bob, alice.public_key()), common);
}

// NIST's CAVS vectors of ECC CDH, P-256, count 0.
TEST(KeyAgreementTest, C2EqualsNistsVectorOnP256) {
  const AgreementKey key = KeyPair(Suite::kP256, "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
  EXPECT_EQ(Hex(key.public_key()), "03ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230");
  EXPECT_EQ(Agreed(key, FromHex("02700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287")),
            "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b");
}

TEST(KeyAgreementTest, BothSidesAgree) {
  for (const Suite suite : kSuites) {
    const AgreementKey one = AgreementKey::Generate(suite, RandomSource::System());
    const AgreementKey other = AgreementKey::Generate(suite, RandomSource::System());
    EXPECT_NE(one.public_key(), other.public_key());
    EXPECT_EQ(one.public_key().size(), PublicKeyBytes(suite));
    EXPECT_TRUE(CheckPublicKey(suite, one.public_key()).ok());
    EXPECT_EQ(Agreed(one, other.public_key()), Agreed(other, one.public_key()));
    const Result<AgreementKey> again = AgreementKey::Of(suite, one.secret());
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->public_key(), one.public_key()) << "the secret is the whole key";
  }
}

// The points of small order of Curve25519 and of its twist, and what is no point of 32 bytes at all.
TEST(KeyAgreementTest, C4RefusesSmallOrderAndWrongLengths) {
  const std::vector<std::string> bad = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // p − 1
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // p
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  // p + 1
      "",
      "09",
      std::string(62, '9'),
      std::string(66, '9'),
  };
  const AgreementKey key = AgreementKey::Generate(Suite::kX25519, RandomSource::System());
  for (const std::string& point : bad) {
    EXPECT_EQ(key.Agree(FromHex(point)).status().code(), Code::kInvalidArgument) << point;
    const Status status = CheckPublicKey(Suite::kX25519, FromHex(point));
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << point;
    EXPECT_THAT(status.message(), HasSubstr("public key: got")) << point;
  }
}

TEST(KeyAgreementTest, C4RefusesWhatIsNotOnP256) {
  const std::vector<std::string> bad = {
      "00" + std::string(64, '0'),                                           // infinity, padded
      "02" + std::string(64, 'f'),                                           // x beyond the field
      "020000000000000000000000000000000000000000000000000000000000000007",  // no y for this x
      "04ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230",  // not compressed
      "ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230",
      "",
  };
  for (const std::string& point : bad) {
    EXPECT_EQ(CheckPublicKey(Suite::kP256, FromHex(point)).code(), Code::kInvalidArgument) << point;
  }
}

TEST(KeyAgreementTest, RefusesAPrivateNumberOutsideTheGroup) {
  const std::string order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
  for (const std::string& secret : {std::string(64, '0'), order, std::string(64, 'f')}) {
    EXPECT_EQ(AgreementKey::Of(Suite::kP256, KeyOf(FromHex(secret))).status().code(), Code::kInvalidArgument) << secret;
  }
}

}  // namespace
}  // namespace fedpeft::privacy
