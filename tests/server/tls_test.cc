// Mutual TLS on the real server, with authorities and certificates made here.
#include "server/tls.h"

#include <gmock/gmock.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "peft/core/files.h"
#include "tests/server/service_fixture.h"

namespace fedpeft::server {
namespace {

using KeyPtr = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using CertPtr = std::unique_ptr<X509, decltype(&X509_free)>;

/// A key with its certificate: an authority's (self-signed) or one that an authority signed.
class Identity {
 public:
  explicit Identity(const std::string& name, const Identity* authority = nullptr)
      : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), cert_(X509_new(), &X509_free) {
    X509_set_version(cert_.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert_.get()), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(cert_.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert_.get()), 3600);
    X509_set_pubkey(cert_.get(), key_.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert_.get()), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.data()), static_cast<int>(name.size()), -1,
                               0);
    const Identity& signer = authority != nullptr ? *authority : *this;
    X509_set_issuer_name(cert_.get(), X509_get_subject_name(signer.cert_.get()));
    Extend(authority != nullptr ? NID_subject_alt_name : NID_basic_constraints,
           authority != nullptr ? "DNS:localhost" : "critical,CA:TRUE");
    FEDPEFT_CHECK(X509_sign(cert_.get(), signer.key_.get(), EVP_sha256()) > 0);
  }

  std::string cert() const {
    return Pem([&](BIO* out) { return PEM_write_bio_X509(out, cert_.get()); });
  }
  std::string key() const {
    return Pem(
        [&](BIO* out) { return PEM_write_bio_PrivateKey(out, key_.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }

 private:
  void Extend(int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    FEDPEFT_CHECK(extension != nullptr);
    X509_add_ext(cert_.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  template <typename Write>
  static std::string Pem(Write write) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
    FEDPEFT_CHECK(write(out.get()) == 1);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }

  static inline long serial_ = 0;
  KeyPtr key_;
  CertPtr cert_;
};

/// The authority, the server's files, and a server that wants certificates of that authority.
struct Pki {
  Pki() : authority("fedpeft test authority"), server("server", &authority) {
    Write("ca.pem", authority.cert());
    Write("server.pem", server.cert());
    Write("server.key", server.key());
  }
  void Write(const std::string& name, const std::string& pem) const {
    FEDPEFT_CHECK(WriteFileAtomically(folder.File(name), AsBytes(pem)).ok());
  }
  testing::TempFolder folder;
  Identity authority;
  Identity server;
};

class TlsTest : public ::testing::Test, protected Pki, protected ServiceFixture {
 protected:
  TlsTest()
      : ServiceFixture({.tls_certificate = Pki::folder.File("server.pem"),
                        .tls_key = Pki::folder.File("server.key"),
                        .client_ca = Pki::folder.File("ca.pem")}) {}

  grpc::Status JoinAs(const std::string& name, const Identity* identity, v1::JoinReply* reply) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = authority.cert();
    if (identity != nullptr) {
      options.pem_cert_chain = identity->cert();
      options.pem_private_key = identity->key();
    }
    const auto stub = StubWith(grpc::SslCredentials(options));
    grpc::ClientContext context;
    return stub->Join(Within(context), JoinRequestOf(name), reply);
  }
  grpc::Status JoinAs(const std::string& name, const Identity* identity) {
    v1::JoinReply reply;
    return JoinAs(name, identity, &reply);
  }
};

TEST_F(TlsTest, CertificateSaysWhoTheClientIs) {
  const Identity alice("alice", &authority);
  v1::JoinReply reply;
  ASSERT_TRUE(JoinAs("", &alice, &reply).ok());
  EXPECT_EQ(reply.client_id(), "alice");
  EXPECT_TRUE(JoinAs("alice", &alice).ok());
}

TEST_F(TlsTest, AnothersNameIsRefused) {
  const Identity alice("alice", &authority);
  const grpc::Status status = JoinAs("bob", &alice);
  EXPECT_EQ(status.error_code(), grpc::PERMISSION_DENIED) << status.error_message();
}

TEST_F(TlsTest, AnothersSessionIsRefused) {
  const Identity alice("alice", &authority);
  const Identity bob("bob", &authority);
  v1::JoinReply joined;
  ASSERT_TRUE(JoinAs("", &alice, &joined).ok());
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = authority.cert();
  options.pem_cert_chain = bob.cert();
  options.pem_private_key = bob.key();
  const auto stub = StubWith(grpc::SslCredentials(options));
  grpc::ClientContext context;
  v1::LeaveRequest request;
  request.set_session(joined.session());
  v1::LeaveReply reply;
  EXPECT_EQ(stub->Leave(Within(context), request, &reply).error_code(), grpc::PERMISSION_DENIED);
}

TEST_F(TlsTest, NoCertificateOrOneOfAnotherAuthorityIsRefused) {
  EXPECT_EQ(JoinAs("alice", nullptr).error_code(), grpc::UNAVAILABLE);
  const Identity other("other authority");
  const Identity alice("alice", &other);
  EXPECT_EQ(JoinAs("alice", &alice).error_code(), grpc::UNAVAILABLE);
}

TEST_F(TlsTest, PlainTextIsRefused) {
  EXPECT_EQ(TryJoin(JoinRequestOf("alice")).error_code(), grpc::UNAVAILABLE);
}

TEST(ServerCredentialsTest, SaysWhatIsWrongWithTheFiles) {
  const Pki pki;
  const Identity other("other");
  pki.Write("other.key", other.key());
  const auto code = [&](const std::string& cert, const std::string& key, const std::string& ca) {
    const auto path = [&](const std::string& name) { return name.empty() ? name : pki.folder.File(name); };
    return ServerCredentials({.certificate = path(cert), .key = path(key), .client_ca = path(ca)}, "0.0.0.0:0", false)
        .status()
        .code();
  };
  EXPECT_EQ(code("server.pem", "server.key", "ca.pem"), Code::kOk);
  EXPECT_EQ(code("server.pem", "", ""), Code::kInvalidArgument);
  EXPECT_EQ(code("", "", "ca.pem"), Code::kInvalidArgument);
  EXPECT_EQ(code("server.pem", "other.key", ""), Code::kInvalidArgument);
  EXPECT_EQ(code("server.key", "server.key", ""), Code::kInvalidArgument);
  EXPECT_EQ(code("server.pem", "server.key", "server.key"), Code::kInvalidArgument);
  EXPECT_EQ(code("none.pem", "server.key", ""), Code::kNotFound);
  EXPECT_EQ(code("", "", ""), Code::kFailedPrecondition) << "plain text beyond loopback";
}

}  // namespace
}  // namespace fedpeft::server
