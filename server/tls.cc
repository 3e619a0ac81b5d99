#include "server/tls.h"

#include <grpc/grpc_security_constants.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <array>
#include <utility>

#include "peft/core/files.h"
#include "proto/address.h"

namespace fedpeft::server {
namespace {

constexpr std::uint64_t kMaxPemBytes = std::uint64_t{1} << 20;

Status OpenSslError(const std::string& path, const std::string& want) {
  std::array<char, 256> reason{};
  ERR_error_string_n(ERR_get_error(), reason.data(), reason.size());
  ERR_clear_error();
  return InvalidArgument(path + ": got " + reason.data() + ", want " + want);
}

/// Says what is wrong with the files before gRPC takes them, because gRPC does not say.
Status CheckPem(const TlsFiles& files) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  FEDPEFT_CHECK(context != nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return OpenSslError(files.certificate, "a PEM certificate chain");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return OpenSslError(files.key, "the PEM private key of " + files.certificate);
  }
  if (!files.client_ca.empty() && SSL_CTX_load_verify_file(context.get(), files.client_ca.c_str()) != 1) {
    return OpenSslError(files.client_ca, "PEM certificates of authorities");
  }
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const TlsFiles& files, const std::string& listen,
                                                                   bool allow_plain_text) {
  if (files.certificate.empty() != files.key.empty() || (files.certificate.empty() && !files.client_ca.empty())) {
    return InvalidArgument("TLS: got a part of it, want --tls-cert and --tls-key (and --client-ca for mutual TLS)");
  }
  if (files.certificate.empty()) {
    if (!IsLoopback(listen) && !allow_plain_text) {
      return FailedPrecondition(
          "listen address: got " + listen +
          " without TLS, want loopback (give --tls-cert and --tls-key, or --insecure if the network "
          "is protected otherwise)");
    }
    return grpc::InsecureServerCredentials();
  }
  ASSIGN_OR_RETURN(std::string certificate, ReadFile(files.certificate, kMaxPemBytes));
  ASSIGN_OR_RETURN(std::string key, ReadFile(files.key, kMaxPemBytes));
  RETURN_IF_ERROR(CheckPem(files));
  grpc::SslServerCredentialsOptions options(files.client_ca.empty()
                                                ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_key_cert_pairs.push_back({.private_key = std::move(key), .cert_chain = std::move(certificate)});
  if (!files.client_ca.empty()) {
    ASSIGN_OR_RETURN(options.pem_root_certs, ReadFile(files.client_ca, kMaxPemBytes));
  }
  return grpc::SslServerCredentials(options);
}

std::optional<std::string> CertificateName(const grpc::ServerContextBase& context) {
  const std::shared_ptr<const grpc::AuthContext> auth = context.auth_context();
  if (!auth || !auth->IsPeerAuthenticated()) return std::nullopt;
  const auto names = auth->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  return names.empty() ? std::string() : std::string(names.front().data(), names.front().size());
}

}  // namespace fedpeft::server
