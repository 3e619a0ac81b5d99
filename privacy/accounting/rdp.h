// Rényi differential privacy: curves of mechanisms, one value an order, which add up over rounds; and the ε they give.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fedpeft::privacy {

/// The orders α > 1 at which curves are kept: 1.1 to 10.9 by 0.1, 11 to 63, 128, 256, 512, 1024.
std::span<const double> RdpOrders();

/// A bound on the Rényi divergence at each order.
using RdpCurve = std::vector<double>;

// A noise multiplier is the noise's standard deviation over the sensitivity, > 0; a sampling rate is in [0, 1].

/// The sum's noise is Gaussian and each client is in it with probability `sampling`, on its own; clients are added or
/// removed. The exact value, by quadrature. Source: Mironov, Talwar and Zhang 2019, section 3.3.
RdpCurve RdpOfSampledGaussian(double sampling, double noise_multiplier);

/// A fixed number of clients, the fraction `sampling` of all, without replacement; clients are replaced, and the noise
/// multiplier is over the sensitivity to that. Source: Wang, Balle and Kasiviswanathan 2019, theorem 27.
RdpCurve RdpOfFixedSizeGaussian(double sampling, double noise_multiplier);

/// ρ-zero-concentrated differential privacy. Source: Bun and Steinke 2016.
RdpCurve RdpOfZcdp(double rho);

/// Noise that clients make themselves, in integers, before a sum of theirs is known.
struct DistributedNoise {
  /// Whose noise is in the sum for certain.
  std::uint64_t clients = 1;
  /// Each one's standard deviation.
  double deviation = 1;
  /// The most that a client changes the sum by, by length and by the sum of absolute values, rounded values included.
  double l2 = 1;
  double l1 = 1;
  /// Elements of the vector.
  std::uint64_t elements = 1;

  bool operator==(const DistributedNoise&) const = default;
};
// Each client is in the sum with probability `sampling`, on its own. Source: Zhu and Wang 2019, theorem 5.

/// Each client's noise is discrete Gaussian. Source: Kairouz, Liu and Steinke 2021, proposition 13.
RdpCurve RdpOfDistributedGaussian(const DistributedNoise& noise, double sampling = 1);
/// Each client's noise is Skellam. Source: Agarwal, Kairouz and Liu 2021, theorem 3.5.
RdpCurve RdpOfSkellam(const DistributedNoise& noise, double sampling = 1);

/// The ε for a δ in (0, 1). Source: Canonne, Kamath and Steinke 2020, proposition 12.
double EpsilonOfRdp(const RdpCurve& curve, double delta);

}  // namespace fedpeft::privacy
