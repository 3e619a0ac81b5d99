#include "privacy/crypto/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

#include "peft/core/check.h"

namespace fedpeft::privacy {
namespace {

using ::testing::HasSubstr;
using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

Key NewKey(const char* type = "ED25519", const char* curve = nullptr) {
  return {EVP_PKEY_Q_keygen(nullptr, nullptr, type, curve), EVP_PKEY_free};
}

/// Valid from a day ago for `days` days.
struct Issue {
  Key key;
  Key issuer_key;
  std::string issuer;
  long days = 30;
  bool authority = false;
};
Certificate NewCertificate(const std::string& name, const Issue& issue) {
  const Certificate certificate(X509_new(), X509_free);
  X509* const x = certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  constexpr long kDay = 24 * 3600;
  X509_gmtime_adj(X509_getm_notBefore(x), -kDay);
  X509_gmtime_adj(X509_getm_notAfter(x), (issue.days - 1) * kDay);
  X509_set_pubkey(x, issue.key.get());
  const auto set_name = [](X509_NAME* to, const std::string& text) {
    X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()), -1, 0);
  };
  set_name(X509_get_subject_name(x), name);
  set_name(X509_get_issuer_name(x), issue.issuer.empty() ? name : issue.issuer);
  if (issue.authority) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  }
  const Key& signer = issue.issuer_key ? issue.issuer_key : issue.key;
  FEDPEFT_CHECK(X509_sign(x, signer.get(), EVP_PKEY_is_a(signer.get(), "EC") ? EVP_sha256() : nullptr) > 0);
  return certificate;
}

std::string Pem(const Certificate& certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), BIO_free);
  FEDPEFT_CHECK(PEM_write_bio_X509(out.get(), certificate.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

class CertificateTest : public ::testing::Test {
 protected:
  Bytes Der(const Certificate& certificate) const { return *CertificateFromPem(Pem(certificate)); }
  Certificate Enrol(const std::string& name, const Key& key, long days = 30) const {
    return NewCertificate(name, {key, root_key_, "root", days});
  }
  Status Refusal(const std::string& name, const Bytes& certificate, Suite suite = Suite::kX25519) const {
    return roots_.Check(suite, name, certificate).status();
  }

  const Key root_key_ = NewKey();
  const Certificate root_ = NewCertificate("root", {root_key_, nullptr, "", 30, true});
  const EnrolmentRoots roots_ = std::move(*EnrolmentRoots::FromPem(Pem(root_)));
};

TEST_F(CertificateTest, GivesTheKeyOfAnEnrolledClient) {
  const Key key = NewKey();
  const Result<VerifyingKey> verifying = roots_.Check(Suite::kX25519, "ward-7", Der(Enrol("ward-7", key)));
  ASSERT_TRUE(verifying.ok()) << verifying.status().ToString();
  const Bytes message{1, 2, 3};
  Bytes signature(64);
  std::size_t size = signature.size();
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get());
  EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size());
  EXPECT_TRUE(verifying->Verify(message, signature).ok());
  EXPECT_TRUE(Refusal("ward-8", Der(Enrol("ward-8", NewKey("EC", "P-256"))), Suite::kP256).ok());
}

TEST_F(CertificateTest, A7RefusesOthersCertificates) {
  const Bytes enrolled = Der(Enrol("ward-7", NewKey()));
  for (const char* name : {"ward-8", "ward-7/0", "ward-", "WARD-7", ""}) {
    EXPECT_THAT(Refusal(name, enrolled).message(), HasSubstr("got one of 'ward-7'")) << name;
  }
  const Key other_root = NewKey();
  const Bytes forged = Der(NewCertificate("ward-7", {NewKey(), other_root, "root"}));
  EXPECT_EQ(Refusal("ward-7", forged).code(), Code::kPermissionDenied);
  const Bytes itself = Der(NewCertificate("ward-7", {NewKey(), nullptr, ""}));
  EXPECT_EQ(Refusal("ward-7", itself).code(), Code::kPermissionDenied);
  EXPECT_THAT(Refusal("ward-7", Der(Enrol("ward-7", NewKey(), /*days=*/0))).message(), HasSubstr("expired"));
  EXPECT_EQ(Refusal("ward-7", enrolled, Suite::kP256).code(), Code::kInvalidArgument);
}

// An enrolled client cannot enrol others.
TEST_F(CertificateTest, A7RefusesChains) {
  const Key middle_key = NewKey();
  const Certificate middle = NewCertificate("middle", {middle_key, root_key_, "root", 30, true});
  const Bytes below = Der(NewCertificate("ward-7", {NewKey(), middle_key, "middle"}));
  EXPECT_EQ(Refusal("ward-7", below).code(), Code::kPermissionDenied);
}

TEST_F(CertificateTest, RefusesWhatIsNoCertificate) {
  Bytes longer = Der(Enrol("ward-7", NewKey()));
  const Bytes shorter(longer.begin(), longer.end() - 1);
  longer.push_back(0);
  for (const Bytes& der : {Bytes{}, Bytes(100, 0x30), longer, shorter, Bytes(kMaxCertificateBytes + 1)}) {
    EXPECT_EQ(Refusal("ward-7", der).code(), Code::kPermissionDenied);
  }
  for (const std::string& pem : {std::string(), std::string("nonsense"), Pem(root_).substr(0, 100)}) {
    EXPECT_EQ(EnrolmentRoots::FromPem(pem).status().code(), Code::kInvalidArgument) << pem;
    EXPECT_EQ(CertificateFromPem(pem).status().code(), Code::kInvalidArgument) << pem;
  }
  EXPECT_TRUE(EnrolmentRoots::FromPem(Pem(root_) + Pem(root_)).ok());
}

}  // namespace
}  // namespace fedpeft::privacy
