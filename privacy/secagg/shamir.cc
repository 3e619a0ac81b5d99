#include "privacy/secagg/shamir.h"

#include <algorithm>
#include <string>
#include <utility>

#include "peft/core/check.h"
#include "privacy/secagg/field.h"
#include "privacy/secagg/polynomial.h"

namespace fedpeft::privacy {

namespace {

using Words = SecretPolynomials::Words;

constexpr std::size_t kWordBytes = 7;

Words WordsOf(const SecretKey& secret) {
  Words words{};
  for (std::size_t i = 0; i < secret.bytes().size(); ++i) {
    words[i / kWordBytes] |= std::uint64_t{secret.bytes()[i]} << (8 * (i % kWordBytes));
  }
  return words;
}

/// False when the words are no secret's: one has more bytes than it stands for.
bool ToSecret(const Words& words, SecretKey& secret) {
  for (std::size_t i = 0; i < kSecretWords; ++i) {
    const std::size_t count = std::min(kWordBytes, secret.bytes().size() - i * kWordBytes);
    if (words[i] >> (8 * count) != 0) return false;
    for (std::size_t j = 0; j < count; ++j) {
      secret.mutable_bytes()[i * kWordBytes + j] = static_cast<std::uint8_t>(words[i] >> (8 * j));
    }
  }
  return true;
}

/// Uniform, by drawing again what is not below.
std::uint64_t RandomWord(RandomSource& random) {
  while (true) {
    Secret<8> bytes = RandomSecret<8>(random);
    const std::uint64_t word = LoadLe<std::uint64_t>(bytes.bytes()) & field::kPrime;
    if (word != field::kPrime) return word;
  }
}

void WipeWords(std::span<std::uint64_t> words) {
  Wipe({reinterpret_cast<std::uint8_t*>(words.data()), words.size_bytes()});
}

/// The points of shares, a list of values a word.
struct Points {
  std::vector<std::uint64_t> x;
  std::array<std::vector<std::uint64_t>, kSecretWords> y;

  explicit Points(std::size_t count) {  // so that growing leaves no copies
    x.reserve(count);
    for (auto& values : y) values.reserve(count);
  }
  Points(Points&&) noexcept = default;
  Points& operator=(Points&&) = delete;
  ~Points() {
    for (auto& values : y) WipeWords(values);
  }

  void Add(std::uint64_t at, const Words& words) {
    x.push_back(at);
    for (std::size_t i = 0; i < kSecretWords; ++i) y[i].push_back(words[i]);
  }
  Words WordsAt(std::size_t i) const {
    Words words{};
    for (std::size_t word = 0; word < kSecretWords; ++word) words[word] = y[word][i];
    return words;
  }
  /// Without that one.
  Points Without(std::size_t left_out) const {
    Points rest(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i != left_out) rest.Add(x[i], WordsAt(i));
    }
    return rest;
  }
};

Result<Points> PointsOf(std::span<const HeldShare> shares) {
  Points points(shares.size());
  for (const HeldShare& held : shares) {
    if (held.x == 0 || std::ranges::count(points.x, std::uint64_t{held.x}) > 0) {
      return InvalidArgument("share of " + std::to_string(held.x) + ": want each x once, and none 0");
    }
    if (!IsShare(held.share.bytes())) {
      return InvalidArgument("share of " + std::to_string(held.x) + ": got a word that is not below 2^61 - 1");
    }
    Words words{};
    for (std::size_t i = 0; i < kSecretWords; ++i) words[i] = LoadLe<std::uint64_t>(held.share.bytes(), 8 * i);
    points.Add(held.x, words);
  }
  return points;
}

/// By the first `threshold` points.
bool FromFirst(const Points& points, std::uint32_t threshold, const IsTheSecret& check, SecretKey& secret) {
  const std::vector<std::uint64_t> weights = LagrangeAtZero(std::span(points.x).first(threshold));
  Words words{};
  for (std::size_t i = 0; i < kSecretWords; ++i) {
    for (std::size_t j = 0; j < threshold; ++j) {
      words[i] = field::Add(words[i], field::Mul(weights[j], points.y[i][j]));
    }
  }
  const bool found = ToSecret(words, secret) && check(secret);
  WipeWords(words);
  return found;
}

/// By all points, some of them wrong.
bool FromMost(const Points& points, std::uint32_t threshold, const IsTheSecret& check, Recovered& recovered) {
  std::array<Polynomial, kSecretWords> polynomials;
  Words words{};
  for (std::size_t i = 0; i < kSecretWords; ++i) {
    std::optional<Polynomial> polynomial = DecodeReedSolomon(points.x, points.y[i], threshold);
    if (!polynomial) return false;
    words[i] = ValueAt(*polynomial, 0);
    polynomials[i] = std::move(*polynomial);
  }
  for (std::size_t j = 0; j < points.x.size(); ++j) {
    bool right = true;
    for (std::size_t i = 0; i < kSecretWords; ++i) right &= ValueAt(polynomials[i], points.x[j]) == points.y[i][j];
    if (!right) recovered.wrong.push_back(static_cast<std::uint32_t>(points.x[j]));
  }
  const bool found = ToSecret(words, recovered.secret) && check(recovered.secret);
  for (Polynomial& polynomial : polynomials) WipeWords(polynomial);
  WipeWords(words);
  return found;
}

/// By all points but one, where none is to spare for decoding.
bool FromAllButOne(const Points& points, std::uint32_t threshold, const IsTheSecret& check, Recovered& recovered) {
  if (points.x.size() != threshold + 1) return false;
  for (std::size_t i = 0; i < threshold; ++i) {  // the last one was left out before
    if (!FromFirst(points.Without(i), threshold, check, recovered.secret)) continue;
    recovered.wrong = {static_cast<std::uint32_t>(points.x[i])};
    return true;
  }
  return false;
}

}  // namespace

bool IsShare(ByteSpan bytes) {
  if (bytes.size() != kShareBytes) return false;
  for (std::size_t i = 0; i < kSecretWords; ++i) {
    if (LoadLe<std::uint64_t>(bytes, 8 * i) >= field::kPrime) return false;
  }
  return true;
}

SecretPolynomials::SecretPolynomials(const SecretKey& secret, std::uint32_t threshold, RandomSource& random)
    : coefficients_(threshold) {
  FEDPEFT_CHECK(threshold >= 1);
  coefficients_[0] = WordsOf(secret);
  for (std::size_t i = 1; i < threshold; ++i) {
    for (std::uint64_t& word : coefficients_[i]) word = RandomWord(random);
  }
}

SecretPolynomials::SecretPolynomials(const SecretKey& secret, std::span<const Words> coefficients)
    : coefficients_{WordsOf(secret)} {
  coefficients_.insert(coefficients_.end(), coefficients.begin(), coefficients.end());
}

SecretPolynomials::~SecretPolynomials() {
  for (Words& words : coefficients_) WipeWords(words);
}

Share SecretPolynomials::At(std::uint32_t x) const {
  FEDPEFT_CHECK(x >= 1);
  Words sum{};
  for (std::size_t degree = coefficients_.size(); degree > 0; --degree) {
    for (std::size_t i = 0; i < kSecretWords; ++i) {
      sum[i] = field::Add(field::Mul(sum[i], x), coefficients_[degree - 1][i]);
    }
  }
  Share share;
  for (std::size_t i = 0; i < kSecretWords; ++i) StoreLe(sum[i], share.mutable_bytes().data() + 8 * i);
  WipeWords(sum);
  return share;
}

Result<Recovered> Recover(std::span<const HeldShare> shares, std::uint32_t threshold, const IsTheSecret& check) {
  if (threshold < 1 || shares.size() < threshold) {
    return InvalidArgument("shares: got " + std::to_string(shares.size()) + ", want " +
                           std::to_string(std::max(threshold, 1u)));
  }
  ASSIGN_OR_RETURN(const Points points, PointsOf(shares));
  Recovered recovered;
  if (FromFirst(points, threshold, check, recovered.secret)) return recovered;
  if (FromMost(points, threshold, check, recovered)) return recovered;
  recovered.wrong.clear();
  if (FromAllButOne(points, threshold, check, recovered)) return recovered;
  return DataLoss("shares: got " + std::to_string(shares.size()) + " of which no secret comes that fits, want " +
                  std::to_string(threshold) + " right ones and few wrong");
}

}  // namespace fedpeft::privacy
