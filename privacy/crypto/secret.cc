#include "privacy/crypto/secret.h"

#include <openssl/crypto.h>

namespace fedpeft::privacy {

void Wipe(MutableByteSpan bytes) {
  OPENSSL_cleanse(bytes.data(), bytes.size());
}

}  // namespace fedpeft::privacy
