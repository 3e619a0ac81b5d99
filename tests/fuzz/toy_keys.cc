// Keys of no strength, in the place of privacy/crypto's: a program that is linked with this file reaches the handlers of
// messages many times as often, and whoever fuzzes it can forge a signature, and so comes to what is behind one. A
// private key is a number, its public key that number times kBase; all modulo 2^64.
#include <algorithm>
#include <array>
#include <cstring>

#include "privacy/crypto/kdf.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/signature.h"

namespace fedpeft::privacy {

namespace {

constexpr std::uint64_t kBase = 0x9e3779b97f4a7c15;

std::uint64_t NumberOf(ByteSpan bytes) {
  std::uint64_t number = 0;
  std::memcpy(&number, bytes.data(), std::min(bytes.size(), sizeof(number)));
  return number;
}

Bytes BytesOf(std::uint64_t number, std::size_t size) {
  Bytes bytes(size);
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

/// FNV-1a.
std::uint64_t Mix(std::uint64_t sum, ByteSpan bytes) {
  for (const std::uint8_t byte : bytes) sum = (sum ^ byte) * 0x100000001b3;
  return sum;
}

Bytes SignatureOf(std::uint64_t public_key, ByteSpan message) {
  return BytesOf(Mix(public_key, message), 64);
}

}  // namespace

// ---- derivation

void HkdfSha256(ByteSpan key_material, ByteSpan salt, ByteSpan info, MutableByteSpan out) {
  std::uint64_t sum = Mix(Mix(Mix(kBase, key_material), salt), info);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>((sum *= kBase) >> 56);
}

SecretKey DeriveKey(ByteSpan key_material, ByteSpan salt, ByteSpan info) {
  SecretKey key;
  HkdfSha256(key_material, salt, info, key.mutable_bytes());
  return key;
}

// ---- agreement

std::size_t PublicKeyBytes(Suite suite) {
  return suite == Suite::kX25519 ? 32 : 33;
}

Status CheckPublicKey(Suite suite, ByteSpan public_key) {
  if (public_key.size() != PublicKeyBytes(suite) || NumberOf(public_key) == 0) return InvalidArgument("no public key");
  return OkStatus();
}

struct AgreementKey::State {
  Suite suite;
  SecretKey secret;
  Bytes public_key;
};

AgreementKey::AgreementKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
AgreementKey::~AgreementKey() = default;
AgreementKey::AgreementKey(AgreementKey&&) noexcept = default;
AgreementKey& AgreementKey::operator=(AgreementKey&&) noexcept = default;

AgreementKey AgreementKey::Generate(Suite suite, RandomSource& random) {
  return std::move(*Of(suite, RandomSecret<32>(random)));
}

Result<AgreementKey> AgreementKey::Of(Suite suite, const SecretKey& secret) {
  const Bytes public_key = BytesOf(kBase * NumberOf(secret.bytes()), PublicKeyBytes(suite));
  return AgreementKey(std::make_unique<State>(State{suite, secret.Clone(), public_key}));
}

Suite AgreementKey::suite() const {
  return state_->suite;
}
const Bytes& AgreementKey::public_key() const {
  return state_->public_key;
}
const SecretKey& AgreementKey::secret() const {
  return state_->secret;
}

Result<SecretKey> AgreementKey::Agree(ByteSpan peer) const {
  RETURN_IF_ERROR(CheckPublicKey(state_->suite, peer));
  const Bytes agreed = BytesOf(NumberOf(state_->secret.bytes()) * NumberOf(peer), 32);
  return SecretKey(ByteSpan(agreed).first<32>());
}

// ---- signatures

struct SigningKey::State {
  std::uint64_t public_key;
};

SigningKey::SigningKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
SigningKey::~SigningKey() = default;
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;

SigningKey SigningKey::Generate(Suite, RandomSource& random) {
  return Ed25519(RandomSecret<32>(random));
}

SigningKey SigningKey::Ed25519(const SecretKey& secret) {
  return SigningKey(std::make_unique<State>(State{kBase * NumberOf(secret.bytes())}));
}

Bytes SigningKey::Sign(ByteSpan message) const {
  return SignatureOf(state_->public_key, message);
}

Bytes SigningKey::public_key() const {
  return BytesOf(state_->public_key, 44);
}

struct VerifyingKey::State {
  std::uint64_t public_key;
};

VerifyingKey::VerifyingKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
VerifyingKey::~VerifyingKey() = default;
VerifyingKey::VerifyingKey(VerifyingKey&&) noexcept = default;
VerifyingKey& VerifyingKey::operator=(VerifyingKey&&) noexcept = default;

Result<VerifyingKey> VerifyingKey::FromDer(Suite, ByteSpan der) {
  if (der.size() != 44) return InvalidArgument("no public key");
  return VerifyingKey(std::make_unique<State>(State{NumberOf(der)}));
}

Status VerifyingKey::Verify(ByteSpan message, ByteSpan signature) const {
  if (std::ranges::equal(SignatureOf(state_->public_key, message), signature)) return OkStatus();
  return PermissionDenied("no signature of this message");
}

}  // namespace fedpeft::privacy
