// Key pairs that two clients agree on a secret with: X25519, or ECDH on P-256 where a FIPS module is wanted.
#pragma once

#include <memory>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// One for a whole cohort. The numbers are the wire's.
enum class Suite : std::uint8_t {
  /// X25519 (RFC 7748), Ed25519 (RFC 8032).
  kX25519 = 1,
  /// ECDH and ECDSA on P-256 (NIST SP 800-56A, FIPS 186-4).
  kP256 = 2,
};

/// 32 for X25519, 33 (a compressed point) for P-256.
std::size_t PublicKeyBytes(Suite suite);

/// Errors: kInvalidArgument for a wrong length, a point that is not on the curve, or one of small order, with which
/// everybody agrees on the same secret.
Status CheckPublicKey(Suite suite, ByteSpan public_key);

/// Threads: const calls from any number.
class AgreementKey {
 public:
  static AgreementKey Generate(Suite suite, RandomSource& random);
  /// The key whose private part is `secret`: RFC 7748's 32 bytes, or a big-endian number.
  /// Errors: kInvalidArgument for a number outside [1, order of P-256).
  static Result<AgreementKey> Of(Suite suite, const SecretKey& secret);
  ~AgreementKey();
  AgreementKey(AgreementKey&&) noexcept;
  AgreementKey& operator=(AgreementKey&&) noexcept;

  Suite suite() const;
  const Bytes& public_key() const;
  const SecretKey& secret() const;
  /// What the owner of `peer` computes from this public key: the x coordinate of the common point. To be used through a
  /// KDF only. Errors: CheckPublicKey's.
  Result<SecretKey> Agree(ByteSpan peer) const;

 private:
  struct State;
  explicit AgreementKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::privacy
