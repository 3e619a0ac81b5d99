#include "privacy/crypto/kdf.h"

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

constexpr std::size_t kMostBytes = 255 * 32;

int Size(ByteSpan bytes) {
  return static_cast<int>(bytes.size());
}

}  // namespace

void HkdfSha256(ByteSpan key_material, ByteSpan salt, ByteSpan info, MutableByteSpan out) {
  FEDPEFT_CHECK(!out.empty() && out.size() <= kMostBytes);
  const PkeyContext context(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr));
  std::size_t size = out.size();
  FEDPEFT_CHECK(context && EVP_PKEY_derive_init(context.get()) == 1 &&
                EVP_PKEY_CTX_set_hkdf_md(context.get(), EVP_sha256()) == 1 &&
                (salt.empty() || EVP_PKEY_CTX_set1_hkdf_salt(context.get(), salt.data(), Size(salt)) == 1) &&
                EVP_PKEY_CTX_set1_hkdf_key(context.get(), key_material.data(), Size(key_material)) == 1 &&
                (info.empty() || EVP_PKEY_CTX_add1_hkdf_info(context.get(), info.data(), Size(info)) == 1) &&
                EVP_PKEY_derive(context.get(), out.data(), &size) == 1 && size == out.size());
}

SecretKey DeriveKey(ByteSpan key_material, ByteSpan salt, ByteSpan info) {
  SecretKey key;
  HkdfSha256(key_material, salt, info, key.mutable_bytes());
  return key;
}

}  // namespace fedpeft::privacy
