// RoundSum: what the updates of a round that the coordinator sees go into, and what is made of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "aggregation/integer_sum.h"
#include "aggregation/reducer.h"
#include "peft/core/status.h"

namespace fedpeft::server {

/// The mean of a round's updates.
struct RoundMean {
  aggregation::Reduced reduced;
  /// Under differential privacy: the norm that the next round's updates are clipped to.
  std::optional<double> next_clip = {};
  /// And values that were not finite, which counted as zero: of the coordinator's own log.
  std::uint64_t not_finite = 0;
};

/// Threads: none of its own.
class RoundSum {
 public:
  virtual ~RoundSum() = default;
  /// Bytes of an update.
  virtual std::uint64_t update_bytes() const = 0;
  /// Errors: those of IntegerSum::Add.
  virtual Status Add(std::uint64_t length, const aggregation::UpdateReader& reader, std::uint64_t weight) = 0;
  /// Whether half an update is in it: it is of no use then.
  virtual bool spoiled() const = 0;
  /// Once. Errors: kFailedPrecondition where there is no mean; kDataLoss for a spoiled sum.
  virtual Result<RoundMean> Finish() = 0;
};

}  // namespace fedpeft::server
