// Where keys, masks' seeds and noise come from. State machines are handed one, so that a test can repeat a session.
#pragma once

#include "peft/core/bytes.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// Threads: any number at once.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void Fill(MutableByteSpan out) = 0;
  /// OpenSSL's generator for private values, seeded by the operating system and again after a fork. Aborts when that
  /// fails: nothing may go on with worse.
  static RandomSource& System();
};

template <std::size_t N>
Secret<N> RandomSecret(RandomSource& random) {
  Secret<N> secret;
  random.Fill(secret.mutable_bytes());
  return secret;
}

}  // namespace fedpeft::privacy
