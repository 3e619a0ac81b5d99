// Shamir's secret sharing of 32 bytes: any `threshold` shares give the secret, fewer say nothing about it. A share is
// bound to its holder by x, the holder's place in the cohort plus one. Pure arithmetic: what a share travels in is
// elsewhere.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/crypto/secret.h"

namespace fedpeft::privacy {

/// The secret as numbers below 2^61 − 1: 7 bytes each, little-endian.
inline constexpr std::size_t kSecretWords = 5;
/// A share has a word of 8 bytes for each.
inline constexpr std::size_t kShareBytes = 8 * kSecretWords;
using Share = Secret<kShareBytes>;

/// The polynomials of one sharing.
class SecretPolynomials {
 public:
  using Words = std::array<std::uint64_t, kSecretWords>;

  /// Of degree threshold − 1, random but for the secret. Pre: threshold ≥ 1.
  SecretPolynomials(const SecretKey& secret, std::uint32_t threshold, RandomSource& random);
  /// With these coefficients of x, x², … (known-answer tests). Pre: below 2^61 − 1.
  SecretPolynomials(const SecretKey& secret, std::span<const Words> coefficients);
  ~SecretPolynomials();
  SecretPolynomials(SecretPolynomials&&) noexcept = default;
  SecretPolynomials& operator=(SecretPolynomials&&) = delete;

  /// Pre: x ≥ 1.
  Share At(std::uint32_t x) const;

 private:
  /// By degree.
  std::vector<Words> coefficients_;
};

/// Whether bytes are a share's: so many, and each word a number below 2^61 − 1.
bool IsShare(ByteSpan bytes);

/// A share and whose it is.
struct HeldShare {
  std::uint32_t x = 0;
  Share share;
};

struct Recovered {
  SecretKey secret;
  /// The x of shares that are not of this secret, ascending. Looked for only where the first shares did not give it.
  std::vector<std::uint32_t> wrong;
};

/// Whether a secret is the one that was shared: fits a public key, or a commitment.
using IsTheSecret = std::function<bool(const SecretKey&)>;

/// The secret that passes the check. Wrong shares are found and named as long as there are enough right ones: with m
/// shares, up to (m − threshold)/2 of them, or one of threshold + 1.
/// Errors: kInvalidArgument for fewer than threshold shares (threshold ≥ 1), an x that is 0 or there twice, or a word
/// that is not below 2^61 − 1; kDataLoss when no secret passes.
/// Cost: threshold² multiplications, or m² a word where shares are wrong.
Result<Recovered> Recover(std::span<const HeldShare> shares, std::uint32_t threshold, const IsTheSecret& check);

}  // namespace fedpeft::privacy
