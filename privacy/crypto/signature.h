// Signatures of identities: Ed25519, or ECDSA on P-256 with SHA-256. A client signs with the key of its enrolment
// certificate.
#pragma once

#include <memory>
#include <string>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/crypto/key_agreement.h"

namespace fedpeft::privacy {

/// The most bytes of a signature: 64 of Ed25519, 72 of ECDSA's DER.
inline constexpr std::size_t kMaxSignatureBytes = 72;

/// Threads: const calls from any number.
class SigningKey {
 public:
  /// Errors: kInvalidArgument when it is not an unencrypted PEM private key, or of another kind than the suite's.
  static Result<SigningKey> FromPem(Suite suite, const std::string& pem);
  /// A new one. P-256's comes of OpenSSL's own generator.
  static SigningKey Generate(Suite suite, RandomSource& random);
  /// Ed25519 by RFC 8032's 32 bytes.
  static SigningKey Ed25519(const SecretKey& secret);
  ~SigningKey();
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;

  Bytes Sign(ByteSpan message) const;
  /// SubjectPublicKeyInfo in DER, which VerifyingKey reads.
  Bytes public_key() const;

 private:
  struct State;
  explicit SigningKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Threads: const calls from any number.
class VerifyingKey {
 public:
  /// Errors: kInvalidArgument when it is not a SubjectPublicKeyInfo in DER, or of another kind than the suite's.
  static Result<VerifyingKey> FromDer(Suite suite, ByteSpan der);
  ~VerifyingKey();
  VerifyingKey(VerifyingKey&&) noexcept;
  VerifyingKey& operator=(VerifyingKey&&) noexcept;

  /// Errors: kPermissionDenied for a signature that is not of this message by this key.
  Status Verify(ByteSpan message, ByteSpan signature) const;

 private:
  struct State;
  explicit VerifyingKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::privacy
