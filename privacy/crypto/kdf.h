// HKDF with SHA-256: every key of a session comes out of it, under a label of its own.
#pragma once

#include "peft/core/bytes.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// Extract and expand. Pre: `out` has 1 to 8,160 bytes. Source: RFC 5869.
void HkdfSha256(ByteSpan key_material, ByteSpan salt, ByteSpan info, MutableByteSpan out);

/// The same for a key.
SecretKey DeriveKey(ByteSpan key_material, ByteSpan salt, ByteSpan info);

}  // namespace fedpeft::privacy
