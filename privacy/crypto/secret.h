// Secret<N>: N bytes that are wiped when they die: keys, seeds, shares. Moves leave nothing behind; a copy is asked for
// by name. Never printed, never logged.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "peft/core/bytes.h"

namespace fedpeft::privacy {

/// Overwrites the bytes with zeros in a way that no compiler removes.
void Wipe(MutableByteSpan bytes);

template <std::size_t N>
class Secret {
 public:
  /// Zeros.
  Secret() = default;
  /// Pre: `bytes` has N.
  explicit Secret(std::span<const std::uint8_t, N> bytes) { std::copy(bytes.begin(), bytes.end(), bytes_.begin()); }
  ~Secret() { Wipe(bytes_); }
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { Wipe(other.bytes_); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      Wipe(other.bytes_);
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret Clone() const { return Secret(std::span<const std::uint8_t, N>(bytes_)); }

  std::span<const std::uint8_t, N> bytes() const { return bytes_; }
  std::span<std::uint8_t, N> mutable_bytes() { return bytes_; }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

/// A symmetric key, a seed, or a private key as a number.
using SecretKey = Secret<32>;

}  // namespace fedpeft::privacy
