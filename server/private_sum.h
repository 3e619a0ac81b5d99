// PrivateSum: a round's updates where the coordinator makes the noise: each is clipped as it is added, noise is added
// to the sum, all in whole numbers, and the mean is over the number of clients that was expected, not the one that
// came.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "aggregation/integer_sum.h"
#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/mechanism/clip.h"
#include "privacy/mechanism/correlated.h"
#include "server/round_sum.h"

namespace fedpeft::server {

class PrivateSum final : public RoundSum {
 public:
  /// Of a run whose rounds' noise is correlated.
  struct Correlated {
    privacy::CorrelationSpec spec;
    std::uint32_t round = 0;
    /// Null: none is made yet, and Finish draws noise of the round's own, which says no more.
    std::shared_ptr<privacy::CorrelatedNoise> noise;
  };
  struct Setup {
    /// The L2 norm that an update is clipped to, > 0, and how it is divided.
    double clip = 1;
    privacy::ClipGroups groups = {};
    /// Standard deviation of the noise over `clip`, > 0; with `adaptive` that of vectors and count together; with
    /// `correlated` over what a client can change in all rounds, which is `clip` times its sensitivity.
    double noise_multiplier = 1;
    /// Clients that are expected in a round, > 0: the denominator.
    double expected = 1;
    /// The most that can come.
    std::uint64_t most = 1;
    /// Pre: none with groups.
    std::optional<privacy::AdaptiveClip> adaptive = std::nullopt;
    std::optional<Correlated> correlated = std::nullopt;
    privacy::RandomSource* random = &privacy::RandomSource::System();
  };
  /// Errors: IntegerSum::Make's; AdaptiveClip::VectorNoise's; kInvalidArgument for correlated noise that no grid is
  /// fine enough for.
  static Result<PrivateSum> Make(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload, const Setup& setup);

  std::uint64_t update_bytes() const override { return sum_.values().size() * sizeof(float); }
  /// Clipped. What is not finite counts as zero. The update is read three times. Pre: the weight is 1.
  Status Add(std::uint64_t length, const aggregation::UpdateReader& reader, std::uint64_t weight) override;
  bool spoiled() const override { return sum_.spoiled(); }
  /// Also of no updates at all.
  Result<RoundMean> Finish() override;

  /// Without noise: never to be given out.
  const aggregation::IntegerSum& sum() const { return sum_; }
  /// Standard deviation of the noise, correlated or not yet, in steps of its grid.
  double deviation() const { return deviation_; }
  /// Values that were not finite, in all updates together.
  std::uint64_t not_finite() const { return not_finite_; }

 private:
  PrivateSum(const Setup& setup, double vector_noise, aggregation::IntegerSum sum);

  Setup setup_;
  aggregation::IntegerSum sum_;
  /// Updates are rounded to whole multiples of 2^−grid_, and so is the noise.
  int grid_;
  double deviation_;
  /// Updates within the norm, less those beyond it.
  std::int64_t balance_ = 0;
  std::uint64_t not_finite_ = 0;
};

}  // namespace fedpeft::server
