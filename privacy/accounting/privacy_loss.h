// Privacy loss distributions: how much an observer of a mechanism's output can tell about one client, as a distribution
// on a grid, pessimistic; and their composition over rounds by Fourier transforms. Tighter than Rényi bounds, above all
// with sampling.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace fedpeft::privacy {

/// The loss of one mechanism for one direction: a client is added, removed, or replaced. Losses are whole multiples of
/// the grid's interval. δ(ε) of it is never below the mechanism's.
class PrivacyLoss {
 public:
  enum class Direction { kRemove, kAdd, kReplace };

  /// A sum with Gaussian noise of `noise_multiplier` times the sensitivity (> 0), that each client is in with
  /// probability `sampling` (in (0, 1]), on its own. The mass between two grid points goes to these so that it stays
  /// the same under both hypotheses. Source: Doroshenko et al. 2022 (connect the dots).
  static PrivacyLoss OfSampledGaussian(double sampling, double noise_multiplier, Direction direction, double interval);
  /// The same where of more than `cap` of `clients` (≥ cap ≥ 1) that were drawn, cap are taken at random. Pre: kRemove
  /// or kAdd. Source: Ganesh 2025, section 4.
  static PrivacyLoss OfCappedSampling(std::uint64_t clients, double sampling, std::uint64_t cap,
                                      double noise_multiplier, Direction direction, double interval);

  double interval() const { return interval_; }
  /// Masses of the losses (first() + i) · interval().
  std::int64_t first() const { return first_; }
  std::span<const double> masses() const { return masses_; }
  /// The mass of an infinite loss.
  double infinite() const { return infinite_; }

  /// ln of the mean of e^(order · loss), without infinite ones.
  double LogMoment(double order) const;

 private:
  /// One of two mechanisms, and which one it was is seen: the first with probability 1 − `second_share`.
  static PrivacyLoss Mixture(const PrivacyLoss& first, const PrivacyLoss& second, double second_share);

  double interval_ = 0;
  std::int64_t first_ = 0;
  std::vector<double> masses_;
  double infinite_ = 0;
};

/// Many mechanisms one after another, each of them so many times, of the same interval.
class ComposedLoss {
 public:
  void Add(std::shared_ptr<const PrivacyLoss> loss, std::uint64_t times);

  /// The smallest ε ≥ 0 for a δ in (0, 1), on the safe side; infinity where infinite losses alone have more. Nothing
  /// where that takes millions of losses: a larger interval will do.
  std::optional<double> Epsilon(double delta) const;

 private:
  struct Part {
    std::shared_ptr<const PrivacyLoss> loss;
    double times;
  };
  class Tilted;

  double LogMoment(double order) const;
  double Infinite() const;
  std::vector<Part> parts_;
};

}  // namespace fedpeft::privacy
