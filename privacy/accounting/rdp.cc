#include "privacy/accounting/rdp.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "peft/core/check.h"

namespace fedpeft::privacy {

namespace {

/// Beyond so many standard deviations a normal variable's density is 0 in double precision, relative to its peak.
constexpr double kTailDeviations = 39;

std::vector<double> MakeOrders() {
  std::vector<double> orders;
  for (int tenths = 11; tenths < 110; ++tenths) orders.push_back(tenths / 10.0);
  for (int order = 11; order < 64; ++order) orders.push_back(order);
  for (const double order : {128, 256, 512, 1024}) orders.push_back(order);
  return orders;
}

/// ln(e^a + e^b).
double LogAdd(double a, double b) {
  const auto [low, high] = std::minmax(a, b);
  return low == -HUGE_VAL ? high : high + std::log1p(std::exp(low - high));
}

double LogChoose(double n, double k) {
  return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

/// ln of the mean of e^f(x) over x normal with mean 0, by the trapezoidal rule, which converges exponentially. `peak`:
/// up to where f may put the weight.
template <typename LogFunction>
double LogMean(double deviation, double peak, LogFunction f) {
  const double step = std::min(deviation / 8, deviation * deviation / 2);
  const double low = -kTailDeviations * deviation, high = peak + kTailDeviations * deviation;
  std::vector<double> terms;
  terms.reserve(static_cast<std::size_t>((high - low) / step) + 2);
  double most = -HUGE_VAL;
  for (double x = low; x <= high; x += step) {
    terms.push_back(f(x) - 0.5 * (x / deviation) * (x / deviation));
    most = std::max(most, terms.back());
  }
  if (most == -HUGE_VAL) return most;
  double sum = 0;
  for (const double term : terms) sum += std::exp(term - most);
  return most + std::log(sum * step / (deviation * std::sqrt(2 * std::numbers::pi)));
}

/// ln of e^(αp) − 1 − α(e^p − 1), which is not negative: what the moment of order α has above 1, as long as e^p − 1 is
/// 0 on average.
double LogExcess(double order, double p) {
  if (order * p < 30) return std::log(std::max(0.0, std::expm1(order * p) - order * std::expm1(p)));
  return order * p + std::log1p(-std::exp(-order * p) - order * (std::exp((1 - order) * p) - std::exp(-order * p)));
}

double SampledGaussianAt(double order, double sampling, double noise) {
  const double scale = 1 / (noise * noise);
  const double log_excess = LogMean(noise, order, [&](double x) {
    const double ratio = (x - 0.5) * scale;  // ln of the densities' ratio
    const double p = ratio < 30 ? std::log1p(sampling * std::expm1(ratio))
                                : ratio + std::log(sampling + (1 - sampling) * std::exp(-ratio));
    return LogExcess(order, p);
  });
  return LogAdd(0, log_excess) / (order - 1);
}

/// ln of the l-th moment of (ratio of the densities − 1), for each even l up to `most`.
std::vector<double> LogMoments(double noise, std::size_t most) {
  std::vector<double> moments(most / 2 + 1, 0.0);
  for (std::size_t l = 2; l <= most; l += 2) {
    const auto power = static_cast<double>(l);
    moments[l / 2] = LogMean(noise, power, [&](double x) {
      const double ratio = (x - 0.5) / (noise * noise);
      return power * (ratio < 30 ? std::log(std::abs(std::expm1(ratio))) : ratio + std::log1p(-std::exp(-ratio)));
    });
  }
  return moments;
}

/// The largest of RdpOrders.
constexpr std::size_t kMostOrder = 1024;

/// α ↦ ln of the moment of order α, at whole orders.
class FixedSizeMoments {
 public:
  FixedSizeMoments(double sampling, double noise)
      : sampling_(sampling), noise_(noise), moments_(LogMoments(noise, kMostOrder)) {}

  double At(std::size_t order) const {
    double sum = 0;
    for (std::size_t j = 2; j <= order; ++j) {
      const auto power = static_cast<double>(j);
      const double term = power * std::log(sampling_) + LogChoose(static_cast<double>(order), power) + Bound(j);
      sum = LogAdd(sum, term);
    }
    return sum;
  }

 private:
  double Bound(std::size_t j) const {
    const auto power = static_cast<double>(j);
    const double general = std::log(2) + power * (power - 1) / (2 * noise_ * noise_);
    if (j == 2) return std::min(general, std::log(4 * std::expm1(1 / (noise_ * noise_))));
    return std::min(general, std::log(4) + 0.5 * (moments_[j / 2] + moments_[(j + 1) / 2]));
  }

  double sampling_, noise_;
  std::vector<double> moments_;
};

/// Theorem 5 of Zhu and Wang 2019 in place of its mechanism's moments, at whole orders.
class SampledMoments {
 public:
  /// `divergence`: the mechanism's at a whole order.
  template <typename Divergence>
  SampledMoments(double sampling, Divergence divergence) : sampling_(sampling) {
    for (std::size_t order = 2; order <= kMostOrder; ++order) {
      const auto power = static_cast<double>(order);
      log_terms_.push_back((order == 2 ? 0 : std::log(3)) + power * std::log(sampling) +
                           (power - 1) * divergence(power));
    }
  }

  double At(std::size_t order) const {
    const auto alpha = static_cast<double>(order);
    const double log_out = std::log1p(-sampling_);
    double sum = (alpha - 1) * log_out + std::log1p((alpha - 1) * sampling_);
    for (std::size_t l = 2; l <= order; ++l) {
      const auto power = static_cast<double>(l);
      sum = LogAdd(sum, LogChoose(alpha, power) + (alpha - power) * log_out + log_terms_[l - 2]);
    }
    return sum;
  }

 private:
  double sampling_;
  std::vector<double> log_terms_;
};

template <typename Divergence>
RdpCurve CurveOf(Divergence divergence) {
  RdpCurve curve;
  for (const double order : RdpOrders()) curve.push_back(divergence(order));
  return curve;
}

/// Of ln of the moments at whole orders: between them it is below its chord.
template <typename Moments>
RdpCurve CurveOfMoments(const Moments& moments) {
  return CurveOf([&](double order) {
    const double below = std::floor(order), part = order - below;
    const double low = moments.At(static_cast<std::size_t>(below));
    const double high = part > 0 ? moments.At(static_cast<std::size_t>(below) + 1) : 0;
    return ((1 - part) * low + part * high) / (order - 1);
  });
}

/// `divergence`: of the mechanism without sampling, at an order.
template <typename Divergence>
RdpCurve CurveOfSample(double sampling, Divergence divergence) {
  if (sampling == 0) return RdpCurve(RdpOrders().size(), 0.0);
  if (sampling == 1) return CurveOf(divergence);
  return CurveOfMoments(SampledMoments(sampling, divergence));
}

}  // namespace

std::span<const double> RdpOrders() {
  static const std::vector<double> orders = MakeOrders();
  return orders;
}

RdpCurve RdpOfSampledGaussian(double sampling, double noise_multiplier) {
  if (sampling == 0) return RdpCurve(RdpOrders().size(), 0.0);
  if (sampling == 1) return RdpOfZcdp(0.5 / (noise_multiplier * noise_multiplier));
  return CurveOf([&](double order) { return SampledGaussianAt(order, sampling, noise_multiplier); });
}

RdpCurve RdpOfFixedSizeGaussian(double sampling, double noise_multiplier) {
  if (sampling == 0) return RdpCurve(RdpOrders().size(), 0.0);
  if (sampling == 1) return RdpOfZcdp(0.5 / (noise_multiplier * noise_multiplier));
  return CurveOfMoments(FixedSizeMoments(sampling, noise_multiplier));
}

RdpCurve RdpOfZcdp(double rho) {
  return CurveOf([&](double order) { return order * rho; });
}

RdpCurve RdpOfDistributedGaussian(const DistributedNoise& noise, double sampling) {
  const double variance = noise.deviation * noise.deviation, elements = static_cast<double>(noise.elements);
  double gap = 0;  // between a sum of discrete Gaussians and one, an element
  for (std::uint64_t j = 1; j < noise.clients; ++j) {
    const auto k = static_cast<double>(j);
    gap += 10 * std::exp(-2 * std::numbers::pi * std::numbers::pi * variance * k / (k + 1));
  }
  const double root = std::sqrt(static_cast<double>(noise.clients) * variance);
  const double l2 = noise.l2 / root, l1 = noise.l1 / root, longer = l2 + std::sqrt(elements) * gap;
  return CurveOfSample(sampling, [&](double order) {
    return std::min({order * l2 * l2 / 2 + gap * elements, order * longer * longer / 2,
                     order * (l2 * l2 + 2 * l1 * gap + gap * gap * elements) / 2});
  });
}

RdpCurve RdpOfSkellam(const DistributedNoise& noise, double sampling) {
  const double variance = static_cast<double>(noise.clients) * noise.deviation * noise.deviation;
  const double l2 = noise.l2 * noise.l2;
  return CurveOfSample(sampling, [&](double order) {
    const double whole = std::ceil(order);  // the bound is for whole orders, and a divergence grows with its order
    return whole * l2 / (2 * variance) +
           std::min(((2 * whole - 1) * l2 + 6 * noise.l1) / (4 * variance * variance), 3 * noise.l1 / (2 * variance));
  });
}

double EpsilonOfRdp(const RdpCurve& curve, double delta) {
  const std::span<const double> orders = RdpOrders();
  FEDPEFT_CHECK(curve.size() == orders.size());
  double least = HUGE_VAL;
  for (std::size_t i = 0; i < orders.size(); ++i) {
    const double order = orders[i], divergence = curve[i];
    if (delta * delta + std::expm1(-divergence) > 0) return 0;  // by Bretagnolle and Huber's bound
    const double epsilon = divergence + std::log1p(-1 / order) - std::log(delta * order) / (order - 1);
    least = std::min(least, epsilon);
  }
  return std::max(0.0, least);
}

}  // namespace fedpeft::privacy
