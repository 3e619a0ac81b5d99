#include "peft/core/random.h"

#include <cmath>
#include <numeric>

#include "peft/core/fingerprint.h"

namespace fedpeft {

RandomStream::RandomStream(std::uint64_t seed, std::string_view purpose, std::initializer_list<std::uint64_t> path) {
  Fingerprint names;
  names.Number(seed);
  names.Text(purpose);
  for (const std::uint64_t part : path) names.Number(part);
  const Digest digest = names.Finish();
  key_ = {LoadLe<std::uint32_t>(digest, 0), LoadLe<std::uint32_t>(digest, 4)};
  counter_ = {0, 0, LoadLe<std::uint32_t>(digest, 8), LoadLe<std::uint32_t>(digest, 12)};
}

std::array<std::uint32_t, 4> RandomStream::Philox(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

std::uint32_t RandomStream::NextU32() {
  if (used_ == 4) {
    block_ = Philox(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t RandomStream::NextU64() {
  const std::uint64_t low = NextU32();
  return low | (static_cast<std::uint64_t>(NextU32()) << 32);
}

double RandomStream::NextDouble() {
  return static_cast<double>(NextU64() >> 11) * 0x1p-53;
}

__extension__ using Wide = unsigned __int128;

std::uint64_t RandomStream::NextBelow(std::uint64_t bound) {
  while (true) {
    const Wide product = static_cast<Wide>(NextU64()) * bound;
    const auto low = static_cast<std::uint64_t>(product);
    if (low >= bound || low >= (0 - bound) % bound) return static_cast<std::uint64_t>(product >> 64);
  }
}

namespace {

/// Natural logarithm of x in (0, 1) by +, −, ×, ÷ alone: x = m·2^e, ln m by the atanh series at s = (m−1)/(m+1),
/// |s| ≤ 0.172, 12 terms: error below 1e-15.
double LogOfFraction(double x) {
  int exponent = 0;
  while (x < 0.70710678118654757) {
    x *= 2;
    --exponent;
  }
  const double s = (x - 1) / (x + 1);
  const double square = s * s;
  double sum = 0;
  for (int k = 23; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return 2 * s * sum + exponent * 0.69314718055994530942;
}

}  // namespace

double RandomStream::NextNormal() {
  static constexpr std::array<double, 6> kA = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                                               1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static constexpr std::array<double, 5> kB = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                                               6.680131188771972e+01, -1.328068155288572e+01};
  static constexpr std::array<double, 6> kC = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                                               -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static constexpr std::array<double, 4> kD = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                                               3.754408661907416e+00};
  const double p = NextDouble() + 0x1p-54;
  const double tail = p < 0.5 ? p : 1 - p;
  if (tail >= 0.02425) {
    const double q = p - 0.5;
    const double r = q * q;
    return (((((kA[0] * r + kA[1]) * r + kA[2]) * r + kA[3]) * r + kA[4]) * r + kA[5]) * q /
           (((((kB[0] * r + kB[1]) * r + kB[2]) * r + kB[3]) * r + kB[4]) * r + 1);
  }
  const double q = std::sqrt(-2 * LogOfFraction(tail));
  const double value = (((((kC[0] * q + kC[1]) * q + kC[2]) * q + kC[3]) * q + kC[4]) * q + kC[5]) /
                       ((((kD[0] * q + kD[1]) * q + kD[2]) * q + kD[3]) * q + 1);
  return p < 0.5 ? value : -value;
}

double RandomStream::NextGamma(double shape) {
  if (shape < 1) {
    const double boost = std::pow(NextDouble() + 0x1p-54, 1 / shape);
    return NextGamma(shape + 1) * boost;
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = NextNormal();
    const double v = 1 + c * x;
    if (v <= 0) continue;
    const double cube = v * v * v;
    const double u = NextDouble() + 0x1p-54;
    if (std::log(u) < 0.5 * x * x + d - d * cube + d * std::log(cube)) return d * cube;
  }
}

std::vector<std::uint32_t> RandomPermutation(RandomStream& stream, std::size_t n) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  stream.Shuffle(std::span<std::uint32_t>(order));
  return order;
}

}  // namespace fedpeft
