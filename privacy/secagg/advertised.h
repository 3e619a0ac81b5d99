// Advertised keys as both sides read them, for the .cc files of sessions.
#pragma once

#include <string>
#include <string_view>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/secagg/session_config.h"
#include "privacy/secagg/session_keys.h"
#include "proto/secure_aggregation.pb.h"

namespace fedpeft::privacy {

/// What a message's bytes field takes.
inline std::string Text(ByteSpan bytes) {
  return std::string(AsText(bytes));
}

/// Pre: the message outlives what is given.
inline PublicKeys KeysOf(const v1::AdvertisedKeys& keys) {
  return {AsBytes(keys.channel_key()), AsBytes(keys.mask_key()), AsBytes(keys.signing_key())};
}

inline Digest LeafOf(std::string_view client_id, const v1::AdvertisedKeys& keys) {
  return KeyLeaf(client_id, KeysOf(keys), AsBytes(keys.signature()));
}

/// That the client's identity has signed its keys; nothing is checked without `check`.
/// Errors: the check's; kPermissionDenied for another signature.
inline Status CheckIdentity(const CheckCertificate& check, const Digest& config_hash, const std::string& client_id,
                            const v1::AdvertisedKeys& keys) {
  if (!check) return OkStatus();
  ASSIGN_OR_RETURN(const VerifyingKey identity, check(client_id, AsBytes(keys.certificate())));
  const Bytes statement = AdvertisedStatement(config_hash, client_id, KeysOf(keys));
  return identity.Verify(statement, AsBytes(keys.signature())).Annotate("keys of " + client_id);
}

}  // namespace fedpeft::privacy
