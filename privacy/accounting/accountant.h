// What releases cost together, and what noise a budget takes. Pure functions of what was released: whoever keeps a
// ledger reckons from it anew.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "peft/core/status.h"
#include "privacy/accounting/privacy_loss.h"
#include "privacy/accounting/rdp.h"

namespace fedpeft::privacy {

// A noise multiplier is the noise's standard deviation over the sensitivity, > 0; a sampling rate is in [0, 1].

/// Everybody takes part; also what an observer learns who knows who did.
struct GaussianSum {
  double noise_multiplier = 1;
  bool operator==(const GaussianSum&) const = default;
};
/// Each client takes part with that probability, on its own, and who does stays secret.
struct PoissonSum {
  double sampling = 1;
  double noise_multiplier = 1;
  bool operator==(const PoissonSum&) const = default;
};
/// The same, but of more than `cap` of `clients` (≥ cap ≥ 1) that were drawn, cap are taken at random.
struct CappedPoissonSum {
  std::uint64_t clients = 1;
  double sampling = 1;
  std::uint64_t cap = 1;
  double noise_multiplier = 1;
  bool operator==(const CappedPoissonSum&) const = default;
};
/// A fixed number of clients, that fraction, without replacement; the noise multiplier is over the sensitivity to one
/// client's being replaced.
struct FixedSizeSum {
  double sampling = 1;
  double noise_multiplier = 1;
  bool operator==(const FixedSizeSum&) const = default;
};
/// ρ-zero-concentrated.
struct ZcdpRelease {
  double rho = 0;
  bool operator==(const ZcdpRelease&) const = default;
};
/// Clients make the noise themselves; each takes part with that probability.
struct DistributedSum {
  enum class Kind { kDiscreteGaussian, kSkellam } kind = Kind::kDiscreteGaussian;
  DistributedNoise noise;
  double sampling = 1;
  bool operator==(const DistributedSum&) const = default;
};
using Release = std::variant<GaussianSum, PoissonSum, CappedPoissonSum, FixedSizeSum, ZcdpRelease, DistributedSum>;

/// What the release says of a client to whoever knows that it took part. Pre: with a sampling rate above 0.
Release KnownTo(const Release& release);

/// A release in a line, for ledgers: its kind and its numbers, to the last bit.
std::string ReleaseText(const Release& release);
/// The inverse. Errors: kInvalidArgument for what is no such line.
Result<Release> ParseRelease(const std::string& text);

/// kPld (privacy loss distributions) is tighter; what it cannot reckon, kRdp (Rényi) can, but for capped samples.
enum class AccountantKind { kPld, kRdp };
std::string_view NameOf(AccountantKind kind);

/// Releases one after another, each so many times. Threads: none of its own, and one at a time.
class Accountant {
 public:
  explicit Accountant(AccountantKind kind) : kind_(kind) {}

  /// Errors: kInvalidArgument for parameters out of range; kUnimplemented for what this kind cannot reckon, with the
  /// one that can.
  Status Add(const Release& release, std::uint64_t times = 1);
  /// The ε for a δ in [0, 1), ≥ 0; infinity where there is none, as for 0 once anything was released.
  double Epsilon(double delta) const;

 private:
  struct Part {
    Release release;
    std::uint64_t times;
    /// Its losses, by direction, on the grid that was last reckoned on.
    mutable std::vector<std::shared_ptr<const PrivacyLoss>> losses = {};
  };
  double EpsilonByRdp(double delta) const;
  double EpsilonByPld(double delta) const;
  /// Nothing where the grid would be too large.
  std::optional<double> EpsilonOnGrid(double interval, double delta) const;

  AccountantKind kind_;
  std::vector<Part> parts_;
};

struct PrivacyBudget {
  double epsilon = 0;
  double delta = 0;
};

/// The smallest noise multiplier, within 1e-4 of itself and on the safe side, with which releases stay within the
/// budget; `add` tells the accountant what is released with a noise multiplier. Errors: those of `add`; kOutOfRange
/// where even a noise multiplier of 1e6 does not.
Result<double> NoiseFor(const PrivacyBudget& budget, AccountantKind kind,
                        const std::function<Status(Accountant&, double noise_multiplier)>& add);

}  // namespace fedpeft::privacy
