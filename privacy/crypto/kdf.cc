#include "privacy/crypto/kdf.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

constexpr std::size_t kMostBytes = 255 * 32;

using Kdf = std::unique_ptr<EVP_KDF, OpensslFree<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, OpensslFree<EVP_KDF_CTX_free>>;

OSSL_PARAM Octets(const char* name, ByteSpan bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

void HkdfSha256(ByteSpan key_material, ByteSpan salt, ByteSpan info, MutableByteSpan out) {
  FEDPEFT_CHECK(!out.empty() && out.size() <= kMostBytes);
  static const Kdf hkdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const KdfContext context(EVP_KDF_CTX_new(hkdf.get()));
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      Octets(OSSL_KDF_PARAM_KEY, key_material),
      Octets(OSSL_KDF_PARAM_INFO, info),
      salt.empty() ? OSSL_PARAM_construct_end() : Octets(OSSL_KDF_PARAM_SALT, salt),
      OSSL_PARAM_construct_end(),
  };
  FEDPEFT_CHECK(context && EVP_KDF_derive(context.get(), out.data(), out.size(), params) == 1);
}

SecretKey DeriveKey(ByteSpan key_material, ByteSpan salt, ByteSpan info) {
  SecretKey key;
  HkdfSha256(key_material, salt, info, key.mutable_bytes());
  return key;
}

}  // namespace fedpeft::privacy
