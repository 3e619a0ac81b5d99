// PrivateSum: a round's updates under central differential privacy: each is clipped as it is added, noise is added to
// the sum, all in whole numbers, and the mean is over the number of clients that was expected, not the one that came.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "aggregation/integer_sum.h"
#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/mechanism/clip.h"
#include "server/round_sum.h"

namespace fedpeft::server {

class PrivateSum final : public RoundSum {
 public:
  struct Setup {
    /// The L2 norm that an update is clipped to, all its tensors together; > 0.
    double clip = 1;
    /// Standard deviation of the noise over `clip`, > 0; with `adaptive` that of vectors and count together.
    double noise_multiplier = 1;
    /// Clients that are expected in a round, > 0: the denominator.
    double expected = 1;
    /// The most that can come.
    std::uint64_t most = 1;
    std::optional<privacy::AdaptiveClip> adaptive = std::nullopt;
    privacy::RandomSource* random = &privacy::RandomSource::System();
  };
  /// Errors: IntegerSum::Make's; AdaptiveClip::VectorNoise's.
  static Result<PrivateSum> Make(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload, const Setup& setup);

  std::uint64_t update_bytes() const override { return sum_.values().size() * sizeof(float); }
  /// Clipped. What is not finite counts as zero. The update is read three times. Pre: the weight is 1.
  Status Add(std::uint64_t length, const aggregation::UpdateReader& reader, std::uint64_t weight) override;
  bool spoiled() const override { return sum_.spoiled(); }
  /// Also of no updates at all.
  Result<RoundMean> Finish() override;

  /// Without noise: never to be given out.
  const aggregation::IntegerSum& sum() const { return sum_; }
  /// Values that were not finite, in all updates together.
  std::uint64_t not_finite() const { return not_finite_; }

 private:
  PrivateSum(const Setup& setup, double vector_noise, aggregation::IntegerSum sum);

  Setup setup_;
  double vector_noise_;
  aggregation::IntegerSum sum_;
  /// Updates are rounded to whole multiples of 2^−grid_, and so is the noise.
  int grid_;
  /// Updates within the norm, less those beyond it.
  std::int64_t balance_ = 0;
  std::uint64_t not_finite_ = 0;
};

}  // namespace fedpeft::server
