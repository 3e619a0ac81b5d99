#include "privacy/crypto/signature.h"

#include <openssl/bio.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <string_view>

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

using Bio = std::unique_ptr<BIO, OpensslFree<BIO_free>>;

bool IsOf(Suite suite, const EVP_PKEY* key) {
  if (suite == Suite::kX25519) return EVP_PKEY_is_a(key, "ED25519") == 1;
  char group[32] = "";
  return EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_group_name(key, group, sizeof(group), nullptr) == 1 &&
         std::string_view(group) == SN_X9_62_prime256v1;
}

/// Ed25519 hashes by itself.
const EVP_MD* HashOf(const EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") == 1 ? nullptr : EVP_sha256();
}

Status WrongKey(const char* what, Suite suite) {
  return InvalidArgument(std::string(what) + ": got something else, want " +
                         (suite == Suite::kX25519 ? "an Ed25519 key" : "an EC key on P-256"));
}

/// A key without a passphrase, or nothing: never asks the terminal for one.
int NoPassphrase(char*, int, int, void*) {
  return 0;
}

}  // namespace

struct SigningKey::State {
  Pkey key;
};

SigningKey::SigningKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
SigningKey::~SigningKey() = default;
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;

Result<SigningKey> SigningKey::FromPem(Suite suite, const std::string& pem) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Pkey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (!key || !IsOf(suite, key.get())) return WrongKey("private key", suite);
  return SigningKey(std::make_unique<State>(State{std::move(key)}));
}

SigningKey SigningKey::Generate(Suite suite, RandomSource& random) {
  if (suite == Suite::kX25519) return Ed25519(RandomSecret<32>(random));
  Pkey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  FEDPEFT_CHECK(key);
  return SigningKey(std::make_unique<State>(State{std::move(key)}));
}

SigningKey SigningKey::Ed25519(const SecretKey& secret) {
  Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, secret.bytes().data(), secret.bytes().size()));
  FEDPEFT_CHECK(key);
  return SigningKey(std::make_unique<State>(State{std::move(key)}));
}

Bytes SigningKey::Sign(ByteSpan message) const {
  const DigestContext context(EVP_MD_CTX_new());
  Bytes signature(kMaxSignatureBytes);
  std::size_t size = signature.size();
  EVP_PKEY* const key = state_->key.get();
  FEDPEFT_CHECK(context && EVP_DigestSignInit(context.get(), nullptr, HashOf(key), nullptr, key) == 1 &&
                EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1);
  signature.resize(size);
  return signature;
}

Bytes SigningKey::public_key() const {
  const int size = i2d_PUBKEY(state_->key.get(), nullptr);
  FEDPEFT_CHECK(size > 0);
  Bytes der(static_cast<std::size_t>(size));
  std::uint8_t* out = der.data();
  FEDPEFT_CHECK(i2d_PUBKEY(state_->key.get(), &out) == size);
  return der;
}

struct VerifyingKey::State {
  Pkey key;
};

VerifyingKey::VerifyingKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
VerifyingKey::~VerifyingKey() = default;
VerifyingKey::VerifyingKey(VerifyingKey&&) noexcept = default;
VerifyingKey& VerifyingKey::operator=(VerifyingKey&&) noexcept = default;

Result<VerifyingKey> VerifyingKey::FromDer(Suite suite, ByteSpan der) {
  const std::uint8_t* in = der.data();
  Pkey key(d2i_PUBKEY(nullptr, &in, static_cast<long>(der.size())));
  if (!key || in != der.data() + der.size() || !IsOf(suite, key.get())) return WrongKey("public key", suite);
  return VerifyingKey(std::make_unique<State>(State{std::move(key)}));
}

Status VerifyingKey::Verify(ByteSpan message, ByteSpan signature) const {
  const DigestContext context(EVP_MD_CTX_new());
  EVP_PKEY* const key = state_->key.get();
  FEDPEFT_CHECK(context && EVP_DigestVerifyInit(context.get(), nullptr, HashOf(key), nullptr, key) == 1);
  if (EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1) {
    return OkStatus();
  }
  return PermissionDenied("signature: is not of this message by this key");
}

}  // namespace fedpeft::privacy
