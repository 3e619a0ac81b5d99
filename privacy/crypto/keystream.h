// The keystream of AES-256 in counter mode, from a zero counter: what masks are made of. Can be entered at any block,
// so that chunks of a mask are made in any order and by any number of threads.
#pragma once

#include <memory>

#include "peft/core/bytes.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

inline constexpr std::size_t kBlockBytes = 16;

/// Block i is AES-256(key, BE128(i)). Source: NIST SP 800-38A. Threads: none of its own.
class Keystream {
 public:
  explicit Keystream(const SecretKey& key);
  ~Keystream();
  Keystream(Keystream&&) noexcept;
  Keystream& operator=(Keystream&&) noexcept;

  /// Goes to the start of that block.
  void Seek(std::uint64_t block);
  /// The next bytes.
  void Read(MutableByteSpan out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::privacy
