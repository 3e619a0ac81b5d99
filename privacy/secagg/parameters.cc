#include "privacy/secagg/parameters.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace fedpeft::privacy {

namespace {

constexpr double kInsecure = 0x1p-41;
constexpr double kStuck = 0x1p-20;
/// Beyond these no degree keeps the bounds; nearer to 1 the search would end in complete graphs that lose everything.
constexpr double kMostBad = 0.9;

/// How many of `draws` out of `population`, of which `marked` are marked, are marked. Tails by +, ×, ÷ alone.
class Hypergeometric {
 public:
  Hypergeometric(std::int64_t population, std::int64_t marked, std::int64_t draws)
      : low_(std::max<std::int64_t>(0, draws - (population - marked))), high_(std::min(draws, marked)) {
    // Relative to the likeliest number; what underflows far from it is nothing.
    const std::int64_t mode = std::clamp((draws + 1) * (marked + 1) / (population + 2), low_, high_);
    weights_.assign(static_cast<std::size_t>(high_ - low_ + 1), 0.0);
    weights_[static_cast<std::size_t>(mode - low_)] = 1;
    const auto up = [&](std::int64_t i) {  // P(i + 1) / P(i)
      return static_cast<double>((marked - i) * (draws - i)) /
             static_cast<double>((i + 1) * (population - marked - draws + i + 1));
    };
    for (std::int64_t i = mode; i < high_; ++i) At(i + 1) = At(i) * up(i);
    for (std::int64_t i = mode; i > low_; --i) At(i - 1) = At(i) / up(i - 1);
    // Each tail from its end, the smallest first.
    below_.assign(weights_.size() + 1, 0.0);
    at_least_.assign(weights_.size() + 1, 0.0);
    for (std::size_t i = 0; i < weights_.size(); ++i) below_[i + 1] = below_[i] + weights_[i];
    for (std::size_t i = weights_.size(); i > 0; --i) at_least_[i - 1] = at_least_[i] + weights_[i - 1];
  }
  double AtLeast(std::int64_t count) const { return at_least_[Index(count)] / at_least_.front(); }
  double Below(std::int64_t count) const { return below_[Index(count)] / below_.back(); }

 private:
  double& At(std::int64_t i) { return weights_[static_cast<std::size_t>(i - low_)]; }
  std::size_t Index(std::int64_t count) const {
    return static_cast<std::size_t>(std::clamp(count, low_, high_ + 1) - low_);
  }

  std::int64_t low_, high_;
  std::vector<double> weights_, below_, at_least_;
};

/// A cohort in numbers of clients.
struct Counts {
  std::int64_t clients, corrupt, lost;
  bool lies;
};

/// Whether what is left hangs together: a bound on the chance that two honest ones stand alone.
bool Connected(const Counts& counts, std::int64_t degree) {
  double chance = static_cast<double>(counts.clients * (counts.clients - degree - 1)) / 2;
  for (std::int64_t i = 0; i < degree && chance > 0; ++i) {
    chance *= static_cast<double>(std::max<std::int64_t>(counts.corrupt + counts.lost - i, 0)) /
              static_cast<double>(counts.clients - i);
  }
  return chance < kInsecure;
}

/// The largest threshold that is private and alive; 0: none.
std::int64_t LargestThreshold(const Counts& counts, std::int64_t degree) {
  const Hypergeometric corrupt(counts.clients, counts.corrupt, degree);
  const Hypergeometric alive(counts.clients, counts.clients - counts.lost, degree);
  const auto clients = static_cast<double>(counts.clients);
  for (std::int64_t threshold = degree; threshold >= 1; --threshold) {
    // Lied to, the honest neighbours answer for one secret each, corrupt ones for both, and the client for its own.
    const std::int64_t enough = counts.lies ? 2 * threshold - degree - 1 : threshold;
    if (clients * corrupt.AtLeast(enough) > kInsecure) return 0;
    if (clients * alive.Below(threshold) <= kStuck) return threshold;
  }
  return 0;
}

GraphParameters Complete(std::uint32_t clients, std::uint32_t corrupt) {
  return {clients - 1, (clients + corrupt) / 2 + 1};
}

Status CheckCohort(const CohortSpec& cohort) {
  const auto fraction = [](const char* name, double value) {
    if (value >= 0 && value < 1) return OkStatus();
    return InvalidArgument(std::string(name) + ": got " + std::to_string(value) + ", want at least 0 and less than 1");
  };
  RETURN_IF_ERROR(fraction("max_corrupt", cohort.max_corrupt));
  RETURN_IF_ERROR(fraction("max_drop_out", cohort.max_drop_out));
  if (cohort.clients < kFewestClients) {
    return InvalidArgument("secure aggregation: got " + std::to_string(cohort.clients) + " clients, want at least " +
                           std::to_string(kFewestClients));
  }
  return OkStatus();
}

}  // namespace

std::uint32_t FractionOf(double fraction, std::uint32_t clients) {
  return static_cast<std::uint32_t>(std::floor(fraction * clients + 1e-9));  // 0.29 · 100 is 29
}

Result<GraphParameters> FindGraphParameters(const CohortSpec& cohort) {
  RETURN_IF_ERROR(CheckCohort(cohort));
  const bool lies = cohort.threat == Threat::kSemiMalicious;
  const std::uint32_t n = cohort.clients;
  const std::uint32_t corrupt = FractionOf(cohort.max_corrupt, n), lost = FractionOf(cohort.max_drop_out, n);
  const auto refused = [&] {
    return FailedPrecondition("secure aggregation: of " + std::to_string(n) + " clients, " + std::to_string(corrupt) +
                              " corrupt and " + std::to_string(lost) +
                              " lost leave no threshold (lower max_corrupt or max_drop_out)");
  };
  if (cohort.max_corrupt + (lies ? 2 : 1) * cohort.max_drop_out > kMostBad) return refused();
  if (n > kCompleteGraphClients) {
    const Counts counts{n, corrupt, lost, lies};
    for (std::uint32_t degree = 2; degree < n - 1; degree += 2) {
      if (!Connected(counts, degree)) continue;
      if (const std::int64_t threshold = LargestThreshold(counts, degree); threshold > 0) {
        return GraphParameters{degree, static_cast<std::uint32_t>(threshold)};
      }
    }
  }
  const GraphParameters complete = Complete(n, std::max(corrupt, std::uint32_t{1}));
  if (n - lost < complete.threshold) return refused();
  return complete;
}

}  // namespace fedpeft::privacy
