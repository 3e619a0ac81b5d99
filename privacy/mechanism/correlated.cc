#include "privacy/mechanism/correlated.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>

#include "peft/core/bytes.h"
#include "peft/core/check.h"
#include "peft/core/parallel.h"
#include "privacy/crypto/kdf.h"
#include "privacy/noise/draws.h"

namespace fedpeft::privacy {

namespace {

SecretKey PartKey(const SecretKey& key, std::uint32_t round, std::size_t part) {
  std::array<std::uint8_t, 12> place{};
  StoreLe(round, place.data());
  StoreLe(std::uint64_t{part}, place.data() + sizeof(round));
  constexpr std::string_view kName = "fedpeft/dp-ftrl/v1/noise";
  Bytes label(kName.begin(), kName.end());
  label.insert(label.end(), place.begin(), place.end());
  return DeriveKey(key.bytes(), {}, label);
}

}  // namespace

std::vector<double> CorrelationBands(std::uint32_t bands) {
  FEDPEFT_CHECK(bands >= 1);
  std::vector<double> column{1};
  for (std::uint32_t j = 1; j < bands; ++j) column.push_back(column.back() * (2.0 * j - 1) / (2.0 * j));
  return column;
}

double CorrelationSpec::Sensitivity() const {
  // Columns do not grow to the right, nor does what is left of them: none are longer than those from the first on.
  const std::vector<double> column = CorrelationBands(bands());
  double squares = 0;
  for (std::uint64_t first = 0; first < rounds; first += separation) {
    const std::size_t rows = std::min<std::uint64_t>(column.size(), rounds - first);
    for (std::size_t i = 0; i < rows; ++i) squares += column[i] * column[i];
  }
  return std::sqrt(squares);
}

BandedSolver::BandedSolver(std::uint32_t bands, std::size_t size)
    : bands_(CorrelationBands(bands)), size_(size), slots_(std::max(1u, bands - 1)), kept_(slots_ * size) {}

std::span<const double> BandedSolver::Next(std::span<const double> z) {
  FEDPEFT_CHECK(z.size() == size_);
  std::vector<double> taken(size_, 0.0);
  for (std::uint32_t j = 1; j < bands_.size() && j <= rows_; ++j) {
    const std::span<const double> before = Row(rows_ - j);
    for (std::size_t i = 0; i < size_; ++i) taken[i] += bands_[j] * before[i];
  }
  // In place of the oldest row, which no further one takes.
  double* const now = kept_.data() + rows_ % slots_ * size_;
  for (std::size_t i = 0; i < size_; ++i) now[i] = z[i] - std::nearbyint(taken[i]);
  ++rows_;
  return last();
}

CorrelatedNoise::CorrelatedNoise(SecretKey key, std::uint32_t bands, std::size_t values, double deviation)
    : key_(std::move(key)), gaussian_(deviation), values_(values) {
  for (std::size_t part = 0; part < NoiseParts(values); ++part) {
    parts_.emplace_back(bands, std::min(kNoisePart, values - part * kNoisePart));
  }
}

std::span<const double> CorrelatedNoise::Of(std::uint32_t round, std::size_t part) {
  BandedSolver& solver = parts_[part];
  FEDPEFT_CHECK(round >= 1 && solver.rows() <= round);
  std::vector<double> drawn(std::min(kNoisePart, values_ - part * kNoisePart));
  while (solver.rows() < round) {
    FillNoise(gaussian_, PartKey(key_, solver.rows() + 1, part), drawn);
    solver.Next(drawn);
  }
  return solver.last();
}

void CorrelatedNoise::Advance(std::uint32_t round) {
  ForEachPart(parts_.size(), Cores(), [&](std::size_t part) { Of(round, part); });
}

}  // namespace fedpeft::privacy
