#include "privacy/crypto/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <string>

#include "tests/privacy/hex.h"

namespace fedpeft::privacy {
namespace {

using testing::FromHex;
using ::testing::HasSubstr;
using testing::KeyOf;

/// A new key of that type (and curve) in PEM.
std::string NewPem(const char* type, const char* curve) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_PKEY_Q_keygen(nullptr, nullptr, type, curve),
                                                                EVP_PKEY_free);
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  FEDPEFT_CHECK(PEM_write_bio_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}
std::string NewPem(Suite suite) {
  return suite == Suite::kX25519 ? NewPem("ED25519", nullptr) : NewPem("EC", "P-256");
}

SigningKey RfcKey() {
  return SigningKey::Ed25519(KeyOf(FromHex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")));
}

// RFC 8032, 7.1, test 2.
TEST(SignatureTest, C2EqualsTheRfcsVector) {
  const SigningKey key = RfcKey();
  EXPECT_EQ(Hex(ByteSpan(key.public_key()).last(32)),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(
      Hex(key.Sign(FromHex("72"))),
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb430"
      "2aeeb00d291612bb0c00");
}

TEST(SignatureTest, VerifiesWhatWasSignedOnly) {
  for (const Suite suite : {Suite::kX25519, Suite::kP256}) {
    const Result<SigningKey> key = SigningKey::FromPem(suite, NewPem(suite));
    ASSERT_TRUE(key.ok()) << key.status().ToString();
    const Result<VerifyingKey> verifying = VerifyingKey::FromDer(suite, key->public_key());
    ASSERT_TRUE(verifying.ok()) << verifying.status().ToString();
    const Bytes message = FromHex("00112233");
    Bytes signature = key->Sign(message);
    EXPECT_LE(signature.size(), kMaxSignatureBytes);
    EXPECT_TRUE(verifying->Verify(message, signature).ok());
    EXPECT_EQ(verifying->Verify(FromHex("00112234"), signature).code(), Code::kPermissionDenied);
    EXPECT_EQ(verifying->Verify(message, ByteSpan(signature).first(63)).code(), Code::kPermissionDenied);
    EXPECT_EQ(verifying->Verify(message, {}).code(), Code::kPermissionDenied);
    for (std::uint8_t& byte : signature) {
      byte ^= 1;
      EXPECT_EQ(verifying->Verify(message, signature).code(), Code::kPermissionDenied);
      byte ^= 1;
    }
  }
}

TEST(SignatureTest, RefusesKeysOfAnotherKind) {
  const Bytes ed25519 = RfcKey().public_key();
  EXPECT_THAT(VerifyingKey::FromDer(Suite::kP256, ed25519).status().message(), HasSubstr("want an EC key on P-256"));
  Bytes longer = ed25519;
  longer.push_back(0);
  for (const Bytes& der : {Bytes{}, Bytes(44, 0x30), longer, Bytes(ed25519.begin(), ed25519.end() - 1)}) {
    EXPECT_EQ(VerifyingKey::FromDer(Suite::kX25519, der).status().code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(SigningKey::FromPem(Suite::kP256, NewPem("EC", "P-384")).status().code(), Code::kInvalidArgument);
  for (const std::string& pem : {std::string(), NewPem(Suite::kP256), NewPem(Suite::kX25519).substr(0, 60)}) {
    EXPECT_EQ(SigningKey::FromPem(Suite::kX25519, pem).status().code(), Code::kInvalidArgument) << pem;
  }
}

}  // namespace
}  // namespace fedpeft::privacy
