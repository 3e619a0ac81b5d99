// Clients of tests: their names, keys, and a root that vouches for these.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "peft/core/status.h"
#include "privacy/crypto/signature.h"

namespace fedpeft::testing {

/// Names in the order of places.
inline std::string NameOf(std::size_t i) {
  return "client-" + std::to_string(1000 + i);
}
/// The inverse; of other texts any number.
inline std::size_t IndexOf(std::string_view name) {
  std::size_t index = 0;
  for (const char c : name.substr(std::min<std::size_t>(name.size(), 7))) {
    index = 10 * index + static_cast<std::size_t>(c - '0');
  }
  return index - 1000;
}

inline privacy::SigningKey IdentityOf(std::size_t i) {
  privacy::SecretKey secret;
  secret.mutable_bytes()[0] = static_cast<std::uint8_t>(i + 1);
  return privacy::SigningKey::Ed25519(secret);
}

/// A certificate is the public key.
inline Result<privacy::VerifyingKey> Enrolled(std::string_view client_id, ByteSpan certificate) {
  if (AsText(certificate) != AsText(IdentityOf(IndexOf(client_id)).public_key())) {
    return PermissionDenied("certificate: is not enrolled");
  }
  return privacy::VerifyingKey::FromDer(privacy::Suite::kX25519, certificate);
}

}  // namespace fedpeft::testing
