// Reproducible randomness: named Philox4x32-10 streams. Every draw that both ends or a repeated run must agree on
// (initial values, data order, partition, simulated cohorts, dropout) comes from a stream named by what it is for.
// Not for keys, masks or privacy noise: those come from OpenSSL's generator.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace fedpeft {

/// A counter-based generator: block `i` of a stream is a pure function of (key, i), so streams never overlap and can be
/// entered anywhere. Uses integer arithmetic and +, −, ×, ÷, √ only: the same bits on every processor.
/// Source: Salmon et al. 2011, Philox4x32-10.
class RandomStream {
 public:
  /// The stream for `purpose` within `seed`, further told apart by `path` (round, client, tensor …): key and high
  /// counter words are the SHA-256 of all three.
  RandomStream(std::uint64_t seed, std::string_view purpose, std::initializer_list<std::uint64_t> path = {});

  std::uint32_t NextU32();
  std::uint64_t NextU64();
  /// Uniform in [0, 1), 53 bits.
  double NextDouble();
  /// Uniform in [0, bound), without modulo bias (Lemire). Pre: bound > 0.
  std::uint64_t NextBelow(std::uint64_t bound);
  /// Standard normal by inversion (Acklam's rational approximation, relative error 1.2e-9).
  double NextNormal();
  /// Gamma(shape, 1), Marsaglia and Tsang 2000; uses libm, so for partitions of one process, not for shared values.
  double NextGamma(double shape);

  /// Fisher–Yates.
  template <typename T>
  void Shuffle(std::span<T> values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[NextBelow(i)]);
  }

  /// Block `counter` for `key`: the primitive, exposed for known-answer tests.
  static std::array<std::uint32_t, 4> Philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

 private:
  std::array<std::uint32_t, 2> key_{};
  std::array<std::uint32_t, 4> counter_{};
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
};

/// A random permutation of 0..n-1.
std::vector<std::uint32_t> RandomPermutation(RandomStream& stream, std::size_t n);

}  // namespace fedpeft
