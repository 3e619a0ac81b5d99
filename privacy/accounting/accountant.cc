#include "privacy/accounting/accountant.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "privacy/accounting/bisect.h"
#include "privacy/accounting/gaussian.h"
#include "privacy/accounting/privacy_loss.h"

namespace fedpeft::privacy {

namespace {

using Direction = PrivacyLoss::Direction;

/// Between losses of the grid, unless ε is large.
constexpr double kInterval = 1e-4;
constexpr double kLeastNoise = 1e-2, kMostNoise = 1e6;
constexpr double kNoiseWithin = 1e-4;

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

Status CheckNoise(double noise) {
  if (noise > 0 && std::isfinite(noise)) return OkStatus();
  return InvalidArgument("noise multiplier: got " + std::to_string(noise) + ", want more than 0");
}
Status CheckRate(double sampling) {
  if (sampling >= 0 && sampling <= 1) return OkStatus();
  return InvalidArgument("sampling rate: got " + std::to_string(sampling) + ", want 0 to 1");
}

Status Check(const Release& release) {
  return std::visit(Overloaded{
                        [](const GaussianSum& sum) { return CheckNoise(sum.noise_multiplier); },
                        [](const ZcdpRelease& one) {
                          return one.rho >= 0
                                     ? OkStatus()
                                     : InvalidArgument("rho: got " + std::to_string(one.rho) + ", want 0 or more");
                        },
                        [](const CappedPoissonSum& sum) {
                          if (sum.cap < 1 || sum.cap > sum.clients) {
                            return InvalidArgument("cap: got " + std::to_string(sum.cap) + " of " +
                                                   std::to_string(sum.clients) + " clients, want 1 to all");
                          }
                          const Status rate = CheckRate(sum.sampling);
                          return rate.ok() ? CheckNoise(sum.noise_multiplier) : rate;
                        },
                        [](const DistributedSum& sum) {
                          const DistributedNoise& noise = sum.noise;
                          const bool sane = noise.clients >= 1 && noise.l2 > 0 && noise.l1 > 0 && noise.elements >= 1 &&
                                            std::isfinite(noise.l2) && std::isfinite(noise.l1);
                          if (!sane)
                            return InvalidArgument("noise of clients: want clients, norms and elements above 0");
                          const Status rate = CheckRate(sum.sampling);
                          return rate.ok() ? CheckNoise(noise.deviation) : rate;
                        },
                        [](const auto& sampled) {
                          const Status rate = CheckRate(sampled.sampling);
                          return rate.ok() ? CheckNoise(sampled.noise_multiplier) : rate;
                        },
                    },
                    release);
}

/// Nothing for capped samples, of which there is no bound.
std::optional<RdpCurve> CurveOf(const Release& release) {
  using Curve = std::optional<RdpCurve>;
  return std::visit(
      Overloaded{
          [](const GaussianSum& sum) -> Curve { return RdpOfSampledGaussian(1, sum.noise_multiplier); },
          [](const PoissonSum& sum) -> Curve { return RdpOfSampledGaussian(sum.sampling, sum.noise_multiplier); },
          [](const CappedPoissonSum&) -> Curve { return std::nullopt; },
          [](const FixedSizeSum& sum) -> Curve { return RdpOfFixedSizeGaussian(sum.sampling, sum.noise_multiplier); },
          [](const ZcdpRelease& one) -> Curve { return RdpOfZcdp(one.rho); },
          [](const DistributedSum& sum) -> Curve {
            return sum.kind == DistributedSum::Kind::kSkellam ? RdpOfSkellam(sum.noise, sum.sampling)
                                                              : RdpOfDistributedGaussian(sum.noise, sum.sampling);
          },
      },
      release);
}

/// Nothing for what has none.
std::optional<PrivacyLoss> LossOf(const Release& release, Direction direction, double interval) {
  using Loss = std::optional<PrivacyLoss>;
  return std::visit(Overloaded{
                        [&](const GaussianSum& sum) -> Loss {
                          return PrivacyLoss::OfSampledGaussian(1, sum.noise_multiplier, direction, interval);
                        },
                        [&](const PoissonSum& sum) -> Loss {
                          return PrivacyLoss::OfSampledGaussian(sum.sampling, sum.noise_multiplier, direction,
                                                                interval);
                        },
                        [&](const CappedPoissonSum& sum) -> Loss {
                          return PrivacyLoss::OfCappedSampling(sum.clients, sum.sampling, sum.cap, sum.noise_multiplier,
                                                               direction, interval);
                        },
                        [](const auto&) -> Loss { return std::nullopt; },
                    },
                    release);
}

/// Between the losses of a grid that is fine enough for it: for how small they are, but never so fine that they are
/// more than 2^19. Pre: LossOf has a loss of it.
double IntervalFor(const Release& release) {
  const auto of = [](double sampling, double noise) {
    const double widest = 30 / noise + 1 / (noise * noise);
    return std::max(widest * 0x1p-19, std::min(kInterval, 0.5 * sampling / noise));
  };
  if (const auto* sum = std::get_if<GaussianSum>(&release)) return of(1, sum->noise_multiplier);
  if (const auto* sum = std::get_if<PoissonSum>(&release)) return of(sum->sampling, sum->noise_multiplier);
  const auto& capped = std::get<CappedPoissonSum>(release);
  return of(capped.sampling, capped.noise_multiplier / 2);
}

bool CostsNothing(const Release& release) {
  return std::visit(
      [](const auto& one) {
        if constexpr (requires { one.sampling; }) return one.sampling == 0;
        return false;
      },
      release);
}

}  // namespace

Release KnownTo(const Release& release) {
  return std::visit(Overloaded{
                        [](const PoissonSum& sum) -> Release { return GaussianSum{sum.noise_multiplier}; },
                        [](const CappedPoissonSum& sum) -> Release { return GaussianSum{sum.noise_multiplier}; },
                        [](FixedSizeSum sum) -> Release {
                          sum.sampling = 1;
                          return sum;
                        },
                        [](DistributedSum sum) -> Release {
                          sum.sampling = 1;
                          return sum;
                        },
                        [](const auto& sum) -> Release { return sum; },
                    },
                    release);
}

std::string ReleaseText(const Release& release) {
  std::ostringstream text;
  text.precision(17);
  std::visit(Overloaded{
                 [&](const GaussianSum& sum) { text << "gaussian " << sum.noise_multiplier; },
                 [&](const PoissonSum& sum) { text << "poisson " << sum.sampling << " " << sum.noise_multiplier; },
                 [&](const CappedPoissonSum& sum) {
                   text << "capped " << sum.clients << " " << sum.sampling << " " << sum.cap << " "
                        << sum.noise_multiplier;
                 },
                 [&](const FixedSizeSum& sum) { text << "fixed " << sum.sampling << " " << sum.noise_multiplier; },
                 [&](const ZcdpRelease& one) { text << "zcdp " << one.rho; },
                 [&](const DistributedSum& sum) {
                   const DistributedNoise& noise = sum.noise;
                   text << (sum.kind == DistributedSum::Kind::kSkellam ? "skellam " : "discrete_gaussian ")
                        << noise.clients << " " << noise.deviation << " " << noise.l2 << " " << noise.l1 << " "
                        << noise.elements << " " << sum.sampling;
                 },
             },
             release);
  return text.str();
}

Result<Release> ParseRelease(const std::string& text) {
  std::istringstream in(text);
  std::string kind;
  in >> kind;
  Release release;
  if (kind == "gaussian") {
    GaussianSum sum;
    in >> sum.noise_multiplier;
    release = sum;
  } else if (kind == "poisson") {
    PoissonSum sum;
    in >> sum.sampling >> sum.noise_multiplier;
    release = sum;
  } else if (kind == "capped") {
    CappedPoissonSum sum;
    in >> sum.clients >> sum.sampling >> sum.cap >> sum.noise_multiplier;
    release = sum;
  } else if (kind == "fixed") {
    FixedSizeSum sum;
    in >> sum.sampling >> sum.noise_multiplier;
    release = sum;
  } else if (kind == "zcdp") {
    ZcdpRelease one;
    in >> one.rho;
    release = one;
  } else if (kind == "skellam" || kind == "discrete_gaussian") {
    DistributedSum sum;
    if (kind == "skellam") sum.kind = DistributedSum::Kind::kSkellam;
    in >> sum.noise.clients >> sum.noise.deviation >> sum.noise.l2 >> sum.noise.l1 >> sum.noise.elements >>
        sum.sampling;
    release = sum;
  } else {
    in.setstate(std::ios::failbit);
  }
  if (!in || (in >> std::ws, !in.eof())) {
    return InvalidArgument("release: got \"" + text + "\", want a kind and its numbers");
  }
  RETURN_IF_ERROR(Check(release));
  return release;
}

std::string_view NameOf(AccountantKind kind) {
  return kind == AccountantKind::kPld ? "pld" : "rdp";
}

Status Accountant::Add(const Release& release, std::uint64_t times) {
  RETURN_IF_ERROR(Check(release));
  const bool capped = std::holds_alternative<CappedPoissonSum>(release);
  const bool has_loss =
      capped || std::holds_alternative<GaussianSum>(release) || std::holds_alternative<PoissonSum>(release);
  if (kind_ == AccountantKind::kRdp && capped) {
    return Unimplemented("accountant: rdp has no bound for a capped sample, want pld");
  }
  if (kind_ == AccountantKind::kPld && !has_loss) {
    return Unimplemented("accountant: pld has no loss distribution of this release, want rdp");
  }
  if (CostsNothing(release)) return OkStatus();
  for (Part& part : parts_) {
    if (part.release != release) continue;
    part.times += times;
    return OkStatus();
  }
  parts_.push_back({.release = release, .times = times});
  return OkStatus();
}

double Accountant::Epsilon(double delta) const {
  if (parts_.empty()) return 0;
  if (delta == 0) return std::numeric_limits<double>::infinity();
  return kind_ == AccountantKind::kRdp ? EpsilonByRdp(delta) : EpsilonByPld(delta);
}

double Accountant::EpsilonByRdp(double delta) const {
  RdpCurve sum(RdpOrders().size(), 0.0);
  for (const Part& part : parts_) {
    const RdpCurve curve = *CurveOf(part.release);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(part.times) * curve[i];
  }
  return EpsilonOfRdp(sum, delta);
}

double Accountant::EpsilonByPld(double delta) const {
  // Without sampling it is one Gaussian mechanism, and exact.
  double precision = 0;
  for (const Part& part : parts_) {
    const auto* sum = std::get_if<GaussianSum>(&part.release);
    precision += sum == nullptr ? std::numeric_limits<double>::infinity()
                                : static_cast<double>(part.times) / (sum->noise_multiplier * sum->noise_multiplier);
  }
  if (std::isfinite(precision)) return GaussianEpsilon(1 / std::sqrt(precision), delta);
  double interval = 0;
  for (const Part& part : parts_) interval = std::max(interval, IntervalFor(part.release));
  while (true) {
    if (const std::optional<double> epsilon = EpsilonOnGrid(interval, delta)) return *epsilon;
    interval *= 2;  // of many rounds that cost much: so fine a grid is too large, and not needed
  }
}

std::optional<double> Accountant::EpsilonOnGrid(double interval, double delta) const {
  for (const Part& part : parts_) {
    if (!part.losses.empty() && part.losses[0]->interval() == interval) continue;
    part.losses.clear();
    for (const Direction direction : {Direction::kRemove, Direction::kAdd}) {
      part.losses.push_back(std::make_shared<PrivacyLoss>(*LossOf(part.release, direction, interval)));
    }
  }
  double most = 0;
  for (std::size_t direction = 0; direction < 2; ++direction) {
    ComposedLoss composed;
    for (const Part& part : parts_) composed.Add(part.losses[direction], part.times);
    const std::optional<double> epsilon = composed.Epsilon(delta);
    if (!epsilon) return std::nullopt;
    most = std::max(most, *epsilon);
  }
  return most;
}

Result<double> NoiseFor(const PrivacyBudget& budget, AccountantKind kind,
                        const std::function<Status(Accountant&, double)>& add) {
  Status failed;
  // Of the budget's ε, in logarithms, in which it is nearly a line: not above 0 is within.
  const auto excess = [&](double noise) {
    Accountant accountant(kind);
    if (failed.ok()) failed = add(accountant, noise);
    return failed.ok() ? std::log(std::max(accountant.Epsilon(budget.delta), 1e-300) / budget.epsilon) : 0;
  };
  double high = 1, at_high = excess(high), low = high, at_low = at_high;
  while (failed.ok() && at_high > 0 && high < kMostNoise) {
    low = std::exchange(high, 2 * high);
    at_low = std::exchange(at_high, excess(high));
  }
  if (failed.ok() && at_high > 0) {
    return OutOfRange("noise: no multiplier up to 1e6 keeps epsilon within " + std::to_string(budget.epsilon));
  }
  while (failed.ok() && at_low <= 0 && low > kLeastNoise) {
    high = std::exchange(low, low / 2);
    at_high = std::exchange(at_low, excess(low));
  }
  if (at_low <= 0) high = low;
  for (int i = 0; failed.ok() && high > low * (1 + kNoiseWithin); ++i) {
    // Each third time in the middle: where ε falls to nothing at once it is no line.
    const double share = i % 3 == 2 ? 0.5 : at_low / (at_low - at_high);
    const double crossing = low * std::pow(high / low, share);
    // A little beyond it, on the side that is further away: the other one is there soon.
    const double step = crossing * crossing > low * high ? 1 - 0.4 * kNoiseWithin : 1 + 0.4 * kNoiseWithin;
    const double next = std::clamp(crossing * step, low * (1 + 0.1 * kNoiseWithin), high / (1 + 0.1 * kNoiseWithin));
    const double at_next = excess(next);
    (at_next > 0 ? low : high) = next;
    (at_next > 0 ? at_low : at_high) = at_next;
  }
  RETURN_IF_ERROR(failed);
  return high;
}

}  // namespace fedpeft::privacy
