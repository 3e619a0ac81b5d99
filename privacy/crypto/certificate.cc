#include "privacy/crypto/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <vector>

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

using Bio = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using Certificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using Store = std::unique_ptr<X509_STORE, OpensslFree<X509_STORE_free>>;
using StoreContext = std::unique_ptr<X509_STORE_CTX, OpensslFree<X509_STORE_CTX_free>>;

Status Denied(std::string_view client_id, const std::string& what) {
  return PermissionDenied("certificate of " + std::string(client_id) + ": " + what);
}

/// The next certificate of the text; null behind the last one, or where one begins that is none.
Certificate Next(BIO* pem, bool* bad = nullptr) {
  ERR_clear_error();
  Certificate certificate(PEM_read_bio_X509(pem, nullptr, nullptr, nullptr));
  if (bad) *bad = !certificate && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
  ERR_clear_error();
  return certificate;
}

Bio Reader(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  FEDPEFT_CHECK(bio);
  return bio;
}

/// Empty where there is not exactly one, or it has a zero byte in it.
std::string CommonName(const X509* certificate) {
  const X509_NAME* const subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return {};
  std::uint8_t* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (size < 0) return {};
  std::string name(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return name.find('\0') == std::string::npos ? name : std::string();
}

Bytes PublicKeyOf(const X509* certificate) {
  std::uint8_t* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size < 0) return {};
  Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

}  // namespace

Result<Bytes> CertificateFromPem(const std::string& pem) {
  const Certificate certificate = Next(Reader(pem).get());
  std::uint8_t* der = nullptr;
  const int size = certificate ? i2d_X509(certificate.get(), &der) : -1;
  if (size < 0) return InvalidArgument("certificate: got something else, want one in PEM");
  Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

struct EnrolmentRoots::State {
  Store store{X509_STORE_new()};
};

EnrolmentRoots::EnrolmentRoots(std::unique_ptr<State> state) : state_(std::move(state)) {}
EnrolmentRoots::~EnrolmentRoots() = default;
EnrolmentRoots::EnrolmentRoots(EnrolmentRoots&&) noexcept = default;
EnrolmentRoots& EnrolmentRoots::operator=(EnrolmentRoots&&) noexcept = default;

Result<EnrolmentRoots> EnrolmentRoots::FromPem(const std::string& pem) {
  auto state = std::make_unique<State>();
  FEDPEFT_CHECK(state->store);
  const Bio bio = Reader(pem);
  int count = 0;
  bool bad = false;
  while (const Certificate certificate = Next(bio.get(), &bad)) {
    FEDPEFT_CHECK(X509_STORE_add_cert(state->store.get(), certificate.get()) == 1);
    ++count;
  }
  if (count == 0 || bad) {
    return InvalidArgument("enrolment roots: got something that is no certificate, want PEM certificates");
  }
  return EnrolmentRoots(std::move(state));
}

Result<VerifyingKey> EnrolmentRoots::Check(Suite suite, std::string_view client_id, ByteSpan der) const {
  const std::uint8_t* in = der.data();
  const Certificate certificate(
      der.size() > kMaxCertificateBytes ? nullptr : d2i_X509(nullptr, &in, static_cast<long>(der.size())));
  if (!certificate || in != der.data() + der.size()) {
    ERR_clear_error();
    return Denied(client_id, "got something else, want one in DER");
  }
  const StoreContext context(X509_STORE_CTX_new());
  FEDPEFT_CHECK(context && X509_STORE_CTX_init(context.get(), state_->store.get(), certificate.get(), nullptr) == 1);
  X509_VERIFY_PARAM_set_depth(X509_STORE_CTX_get0_param(context.get()), 0);  // no certificates between
  if (X509_verify_cert(context.get()) != 1) {
    const int error = X509_STORE_CTX_get_error(context.get());
    ERR_clear_error();
    return Denied(client_id, X509_verify_cert_error_string(error));
  }
  const std::string name = CommonName(certificate.get());
  if (name.empty() || name != client_id) return Denied(client_id, "got one of '" + name + "'");
  return VerifyingKey::FromDer(suite, PublicKeyOf(certificate.get()));
}

}  // namespace fedpeft::privacy
