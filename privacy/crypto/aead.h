// AES-256-GCM: what one client sends another through the coordinator.
#pragma once

#include <array>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// The bytes that sealing adds: the nonce before, the tag behind.
inline constexpr std::size_t kNonceBytes = 12;
inline constexpr std::size_t kTagBytes = 16;
inline constexpr std::size_t kSealBytes = kNonceBytes + kTagBytes;

using Nonce = std::array<std::uint8_t, kNonceBytes>;

/// nonce ‖ ciphertext ‖ tag. Pre: a nonce is never used twice with a key. Source: NIST SP 800-38D.
Bytes Seal(const SecretKey& key, const Nonce& nonce, ByteSpan associated, ByteSpan plain);
/// With a random nonce.
Bytes Seal(const SecretKey& key, RandomSource& random, ByteSpan associated, ByteSpan plain);

/// Writes the plain text of `sealed` to `plain`. Errors, with `plain` zeroed: kInvalidArgument when the length is not
/// that of `plain` sealed; kDataLoss when anything was changed, or sealed with another key or associated data.
Status Open(const SecretKey& key, ByteSpan associated, ByteSpan sealed, MutableByteSpan plain);

}  // namespace fedpeft::privacy
