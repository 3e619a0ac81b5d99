// Who may listen how, and who a peer is: server credentials from PEM files, and the name in a peer's certificate.
#pragma once

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_context.h>

#include <memory>
#include <optional>
#include <string>

#include "peft/core/status.h"

namespace fedpeft::server {

/// Paths of PEM files. Both `certificate` and `key`, or neither: plain text.
struct TlsFiles {
  std::string certificate;
  std::string key;
  /// Given: clients must show a certificate of this authority, and its common name is who they are.
  std::string client_ca;
};

/// Errors: kInvalidArgument for half a configuration, files that are not PEM, or a key of another certificate; the
/// files' own. kFailedPrecondition for plain text on an address beyond loopback, unless `allow_plain_text`.
Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const TlsFiles& files, const std::string& listen,
                                                                   bool allow_plain_text);

/// The common name of the certificate that TLS verified (empty if it has none); nothing when it verified none.
std::optional<std::string> CertificateName(const grpc::ServerContextBase& context);

}  // namespace fedpeft::server
