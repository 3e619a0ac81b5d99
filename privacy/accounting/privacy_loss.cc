#include "privacy/accounting/privacy_loss.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>
#include <unsupported/Eigen/FFT>
#include <utility>

#include "peft/core/check.h"
#include "privacy/accounting/binomial.h"
#include "privacy/accounting/bisect.h"

namespace fedpeft::privacy {

namespace {

// ---- one mechanism

/// Beyond so many standard deviations, less than 1e-41 of a normal variable.
constexpr double kDeviations = 13.5;
/// The widest piece that four points integrate over, in standard deviations.
constexpr double kWidest = 1.0 / 16;

/// Gauss and Legendre's points in (−1, 1), and their weights.
constexpr double kPoints[] = {-0.8611363115940526, -0.3399810435848563, 0.3399810435848563, 0.8611363115940526};
constexpr double kWeights[] = {0.3478548451374538, 0.6521451548625461, 0.6521451548625461, 0.3478548451374538};

/// The two hypotheses about one coordinate, in the direction that tells them apart: without the client N(0, σ²), with
/// it N(1, σ²) with probability `sampling`, and with one in its place N(−1, σ²). The output is of the hypothesis with
/// the client, unless it is to be added.
class SampledPair {
 public:
  using Direction = PrivacyLoss::Direction;
  SampledPair(double sampling, double noise, Direction direction)
      : sampling_(sampling), noise_(noise), direction_(direction) {}

  /// The loss where x is seen.
  double LossAt(double x) const {
    if (direction_ == Direction::kReplace) return LogRatio(x) - LogRatio(-x);
    return direction_ == Direction::kRemove ? LogRatio(x) : -LogRatio(x);
  }
  /// Where the loss is that. Infinities where it never is.
  double PointOf(double loss) const {
    if (direction_ == Direction::kReplace) return loss < 0 ? -ReplacedPoint(-loss) : ReplacedPoint(loss);
    const double ratio = direction_ == Direction::kRemove ? loss : -loss;
    const double scaled = std::expm1(ratio) / sampling_;  // e^u − 1
    const double variance = noise_ * noise_;
    if (!(scaled > -1)) return -HUGE_VAL;
    const double u = ratio > 500 ? ratio - std::log(sampling_) : std::log1p(scaled);
    return u * variance + 0.5;
  }
  double DensityAt(double x) const {
    const double without = Normal(x / noise_), with = Normal((x - 1) / noise_);
    return (direction_ == Direction::kAdd ? without : (1 - sampling_) * without + sampling_ * with) / noise_;
  }
  /// Between them is all but a little.
  double lowest() const { return -kDeviations * noise_; }
  double highest() const { return 1 + kDeviations * noise_; }
  double noise() const { return noise_; }

 private:
  static double Normal(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi); }
  double LogRatio(double x) const {
    const double u = (x - 0.5) / (noise_ * noise_);
    if (u > 30) return u + std::log(sampling_ + (1 - sampling_) * std::exp(-u));
    return std::log1p(sampling_ * std::expm1(u));
  }

  /// Of a loss ≥ 0: t = e^(x / σ²) solves b·t² − a·(e^loss − 1)·t − b·e^loss = 0, b being sampling · e^(−1 / 2σ²).
  double ReplacedPoint(double loss) const {
    const double variance = noise_ * noise_, log_b = std::log(sampling_) - 0.5 / variance;
    const double a = (1 - sampling_) * -std::expm1(-loss);  // all divided by e^loss
    const double root = std::sqrt(a * a + 4 * std::exp(2 * log_b - loss));
    return variance * (loss + std::log((a + root) / 2) - log_b);
  }

  double sampling_, noise_;
  Direction direction_;
};

/// The mass between two points, split between the losses `low` and `low` + interval.
struct Split {
  double low = 0, high = 0;
};
Split Integrate(const SampledPair& pair, double from, double to, double low, double interval) {
  const auto pieces = std::max(1.0, std::ceil((to - from) / (kWidest * pair.noise())));
  const double half = (to - from) / pieces / 2;
  Split split;
  for (double piece = 0; piece < pieces; ++piece) {
    const double middle = from + (2 * piece + 1) * half;
    for (std::size_t i = 0; i < std::size(kPoints); ++i) {
      const double x = middle + half * kPoints[i], mass = kWeights[i] * half * pair.DensityAt(x);
      const double part = std::expm1(low - pair.LossAt(x)) / std::expm1(-interval);
      split.high += mass * std::clamp(part, 0.0, 1.0);
      split.low += mass * (1 - std::clamp(part, 0.0, 1.0));
    }
  }
  return split;
}

// ---- composition

/// What of a composition may be outside of the transform's window, relative to all of it.
constexpr double kOutside = 1e-14;
constexpr std::size_t kLargestWindow = std::size_t{1} << 22;

std::complex<double> Power(std::complex<double> base, std::uint64_t times) {
  std::complex<double> power = 1;
  for (; times > 0; times /= 2) {
    if (times % 2 == 1) power *= base;
    base *= base;
  }
  return power;
}

}  // namespace

PrivacyLoss PrivacyLoss::OfSampledGaussian(double sampling, double noise_multiplier, Direction direction,
                                           double interval) {
  FEDPEFT_CHECK(sampling > 0 && sampling <= 1 && noise_multiplier > 0 && interval > 0);
  const SampledPair pair(sampling, noise_multiplier, direction);
  const auto [least, most] = std::minmax({pair.LossAt(pair.lowest()), pair.LossAt(pair.highest())});
  const auto first = static_cast<std::int64_t>(std::floor(least / interval));
  const auto last = static_cast<std::int64_t>(std::ceil(most / interval));
  PrivacyLoss loss;
  loss.interval_ = interval;
  loss.first_ = first;
  loss.masses_.assign(static_cast<std::size_t>(last - first) + 2, 0.0);
  const auto point = [&](std::int64_t at) {
    return std::clamp(pair.PointOf(static_cast<double>(at) * interval), pair.lowest(), pair.highest());
  };
  double at = point(first), total = 0;
  for (std::int64_t i = first; i <= last; ++i) {
    const double next = point(i + 1);
    const auto [from, to] = std::minmax({at, next});
    if (to > from) {
      const Split split = Integrate(pair, from, to, static_cast<double>(i) * interval, interval);
      loss.masses_[static_cast<std::size_t>(i - first)] += split.low;
      loss.masses_[static_cast<std::size_t>(i - first) + 1] += split.high;
      total += split.low + split.high;
    }
    at = next;
  }
  loss.infinite_ = std::erfc(kDeviations / std::numbers::sqrt2) / 2;
  FEDPEFT_CHECK(std::abs(total - 1) < 1e-9);
  return loss;
}

PrivacyLoss PrivacyLoss::OfCappedSampling(std::uint64_t clients, double sampling, std::uint64_t cap,
                                          double noise_multiplier, Direction direction, double interval) {
  FEDPEFT_CHECK(direction != Direction::kReplace && cap >= 1 && cap <= clients);
  PrivacyLoss uncapped = OfSampledGaussian(sampling, noise_multiplier, direction, interval);
  // With this client there are more than the cap where cap or more of the others were drawn.
  const double capped = BinomialTail(clients - 1, sampling, cap);
  if (capped == 0) return uncapped;
  const double taken = std::min(1.0, BinomialTail(clients, sampling, cap + 1) * static_cast<double>(cap) /
                                         (capped * static_cast<double>(clients)));
  // It then takes another one's place.
  const PrivacyLoss replaced = OfSampledGaussian(taken, noise_multiplier / 2, Direction::kReplace, interval);
  return Mixture(uncapped, replaced, capped);
}

PrivacyLoss PrivacyLoss::Mixture(const PrivacyLoss& first, const PrivacyLoss& second, double second_share) {
  FEDPEFT_CHECK(first.interval_ == second.interval_);
  PrivacyLoss mixed;
  mixed.interval_ = first.interval_;
  mixed.first_ = std::min(first.first_, second.first_);
  const auto end = [](const PrivacyLoss& loss) { return loss.first_ + static_cast<std::int64_t>(loss.masses_.size()); };
  mixed.masses_.assign(static_cast<std::size_t>(std::max(end(first), end(second)) - mixed.first_), 0.0);
  const auto add = [&](const PrivacyLoss& loss, double share) {
    const auto offset = static_cast<std::size_t>(loss.first_ - mixed.first_);
    for (std::size_t i = 0; i < loss.masses_.size(); ++i) mixed.masses_[offset + i] += share * loss.masses_[i];
    mixed.infinite_ += share * loss.infinite_;
  };
  add(first, 1 - second_share);
  add(second, second_share);
  return mixed;
}

double PrivacyLoss::LogMoment(double order) const {
  // Blocks of losses, each by its first one's weight and a power a step; short ones where powers would overflow.
  const double exponent = order * interval_, step = std::exp(exponent);
  const auto in_block = static_cast<std::size_t>(std::clamp(500 / std::abs(exponent), 1.0, 256.0));
  double most = -HUGE_VAL, sum = 0;  // the sum is in units of e^most
  for (std::size_t first = 0; first < masses_.size(); first += in_block) {
    double block = 0, weight = 1;
    for (std::size_t i = first; i < std::min(first + in_block, masses_.size()); ++i) {
      block += masses_[i] * weight;
      weight *= step;
    }
    if (block == 0) continue;
    const double log_block = std::log(block) + exponent * static_cast<double>(first);
    if (log_block > most) {
      sum = sum * std::exp(most - log_block) + 1;
      most = log_block;
    } else {
      sum += std::exp(log_block - most);
    }
  }
  return std::log(sum) + most + exponent * static_cast<double>(first_);
}

// ---- ComposedLoss

void ComposedLoss::Add(std::shared_ptr<const PrivacyLoss> loss, std::uint64_t times) {
  FEDPEFT_CHECK(parts_.empty() || parts_.front().loss->interval() == loss->interval());
  if (times == 0) return;
  for (Part& part : parts_) {
    if (part.loss != loss) continue;
    part.times += static_cast<double>(times);
    return;
  }
  parts_.push_back({std::move(loss), static_cast<double>(times)});
}

double ComposedLoss::LogMoment(double order) const {
  double sum = 0;
  for (const Part& part : parts_) sum += part.times * part.loss->LogMoment(order);
  return sum;
}

double ComposedLoss::Infinite() const {
  double finite = 0;  // its logarithm
  for (const Part& part : parts_) finite += part.times * std::log1p(-part.loss->infinite());
  return -std::expm1(finite);
}

/// The composition with each loss l weighted by e^(order · l), and normed: around the ε that is looked for there is
/// most of its mass, so that the transform's errors are small beside what is asked, however small that is.
class ComposedLoss::Tilted {
 public:
  Tilted(const ComposedLoss& composed, double order)
      : interval_(composed.parts_.front().loss->interval()), order_(order), log_norm_(composed.LogMoment(order)) {
    const auto [low, high] = Window(composed);
    first_ = static_cast<std::int64_t>(std::floor(low / interval_));
    const double losses = std::ceil(high / interval_) - static_cast<double>(first_) + 2;
    if (losses > static_cast<double>(kLargestWindow)) return;
    std::size_t size = 2;
    while (static_cast<double>(size) < losses) size *= 2;
    Transform(composed, size);
  }

  bool fits() const { return !masses_.empty(); }

  double Delta(double epsilon) const {
    // e^(log_norm − order · ε) · Σ over losses above ε of mass · e^(−order · (loss − ε)) · (1 − e^(ε − loss))
    const auto start = static_cast<std::int64_t>(std::floor(epsilon / interval_)) + 1;
    const std::int64_t from = std::max(start, first_);
    const double excess = static_cast<double>(from) * interval_ - epsilon;
    double tilt = std::exp(-order_ * excess), gap = std::exp(-excess);
    const double tilt_step = std::exp(-order_ * interval_), gap_step = std::exp(-interval_);
    double sum = 2 * kOutside;
    for (auto i = static_cast<std::size_t>(from - first_); i < masses_.size() && tilt > 1e-20; ++i) {
      sum += masses_[i] * tilt * (1 - gap);
      tilt *= tilt_step;
      gap *= gap_step;
    }
    return std::exp(log_norm_ - order_ * epsilon + std::log(sum));
  }

 private:
  /// Losses between which all but kOutside of the mass is, by Chernoff's bound at some of the orders around.
  std::pair<double, double> Window(const ComposedLoss& composed) const {
    double low = -HUGE_VAL, high = HUGE_VAL;
    for (double step = 1e-3; step < 1e4; step *= 2) {
      const double up = composed.LogMoment(order_ + step) - log_norm_;
      const double down = composed.LogMoment(order_ - step) - log_norm_;
      high = std::min(high, (up - std::log(kOutside)) / step);
      low = std::max(low, -(down - std::log(kOutside)) / step);
    }
    return {low, high};
  }

  void Transform(const ComposedLoss& composed, std::size_t size) {
    Eigen::FFT<double> fft;
    fft.SetFlag(Eigen::FFT<double>::HalfSpectrum);
    std::vector<double> line(size);
    std::vector<std::complex<double>> spectrum, product(size / 2 + 1, 1.0);
    // Positions count from the window's first loss; a mechanism's from the mean share of it.
    std::int64_t shift = 0;
    for (const Part& part : composed.parts_) {
      std::ranges::fill(line, 0.0);
      const double norm = part.loss->LogMoment(order_);
      const std::span<const double> masses = part.loss->masses();
      for (std::size_t i = 0; i < masses.size(); ++i) {
        const double loss = static_cast<double>(part.loss->first() + static_cast<std::int64_t>(i)) * interval_;
        line[i % size] += masses[i] > 0 ? std::exp(std::log(masses[i]) + order_ * loss - norm) : 0.0;
      }
      const auto times = static_cast<std::uint64_t>(part.times);
      shift += part.loss->first() * static_cast<std::int64_t>(times);
      fft.fwd(spectrum, line);
      for (std::size_t i = 0; i < product.size(); ++i) product[i] *= Power(spectrum[i], times);
    }
    fft.inv(line, product, static_cast<Eigen::Index>(size));
    masses_.resize(size);
    const auto whole = static_cast<std::int64_t>(size);
    for (std::int64_t i = 0; i < whole; ++i) {
      const std::int64_t from = ((first_ + i - shift) % whole + whole) % whole;
      masses_[static_cast<std::size_t>(i)] = std::max(0.0, line[static_cast<std::size_t>(from)]);
    }
  }

  double interval_, order_, log_norm_;
  std::int64_t first_ = 0;
  std::vector<double> masses_;
};

namespace {

/// Where a convex function of the order, in powers of e, is smallest.
template <typename Function>
double LeastOrder(Function function) {
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double low = std::log(1e-3), high = std::log(1e4);
  while (high - low > 1e-2) {
    const double a = high - ratio * (high - low), b = low + ratio * (high - low);
    if (function(std::exp(a)) < function(std::exp(b))) {
      high = b;
    } else {
      low = a;
    }
  }
  return std::exp((low + high) / 2);
}

}  // namespace

std::optional<double> ComposedLoss::Epsilon(double delta) const {
  if (parts_.empty()) return 0.0;
  const double infinite = Infinite();
  if (infinite >= delta) return HUGE_VAL;
  const double order = LeastOrder([&](double at) { return (LogMoment(at) - std::log(delta)) / at; });
  const Tilted tilted(*this, order);
  if (!tilted.fits()) return std::nullopt;
  const auto enough = [&](double epsilon) { return infinite + tilted.Delta(epsilon) <= delta; };
  return enough(0) ? 0.0 : SmallestFrom(0, 1, enough);
}

}  // namespace fedpeft::privacy
