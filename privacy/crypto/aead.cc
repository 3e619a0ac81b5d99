#include "privacy/crypto/aead.h"

#include <algorithm>
#include <string>

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

int Size(ByteSpan bytes) {
  return static_cast<int>(bytes.size());
}

Status OpenChecked(const SecretKey& key, ByteSpan associated, ByteSpan sealed, MutableByteSpan plain) {
  const ByteSpan nonce = sealed.first(kNonceBytes);
  const ByteSpan cipher = sealed.subspan(kNonceBytes, plain.size());
  std::array<std::uint8_t, kTagBytes> tag{};
  std::ranges::copy(sealed.last(kTagBytes), tag.begin());
  const CipherContext context(EVP_CIPHER_CTX_new());
  int size = 0;
  FEDPEFT_CHECK(
      context && EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.bytes().data(), nonce.data()) == 1 &&
      EVP_DecryptUpdate(context.get(), nullptr, &size, associated.data(), Size(associated)) == 1 &&
      EVP_DecryptUpdate(context.get(), plain.data(), &size, cipher.data(), Size(cipher)) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(tag.size()), tag.data()) == 1);
  std::uint8_t nothing = 0;
  if (EVP_DecryptFinal_ex(context.get(), &nothing, &size) == 1) return OkStatus();
  return DataLoss("sealed message: got bytes that its key does not open, want them as they were sealed");
}

}  // namespace

Bytes Seal(const SecretKey& key, const Nonce& nonce, ByteSpan associated, ByteSpan plain) {
  Bytes sealed(plain.size() + kSealBytes);
  std::ranges::copy(nonce, sealed.begin());
  std::uint8_t* const cipher = sealed.data() + kNonceBytes;
  const CipherContext context(EVP_CIPHER_CTX_new());
  int size = 0;
  FEDPEFT_CHECK(context &&
                EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key.bytes().data(), nonce.data()) == 1 &&
                EVP_EncryptUpdate(context.get(), nullptr, &size, associated.data(), Size(associated)) == 1 &&
                EVP_EncryptUpdate(context.get(), cipher, &size, plain.data(), Size(plain)) == 1 &&
                EVP_EncryptFinal_ex(context.get(), cipher + plain.size(), &size) == 1 &&
                EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, cipher + plain.size()) == 1);
  return sealed;
}

Bytes Seal(const SecretKey& key, RandomSource& random, ByteSpan associated, ByteSpan plain) {
  Nonce nonce;
  random.Fill(nonce);
  return Seal(key, nonce, associated, plain);
}

Status Open(const SecretKey& key, ByteSpan associated, ByteSpan sealed, MutableByteSpan plain) {
  Status status = sealed.size() == plain.size() + kSealBytes
                      ? OpenChecked(key, associated, sealed, plain)
                      : InvalidArgument("sealed message: got " + std::to_string(sealed.size()) + " bytes, want " +
                                        std::to_string(plain.size() + kSealBytes));
  if (!status.ok()) Wipe(plain);
  return status;
}

}  // namespace fedpeft::privacy
