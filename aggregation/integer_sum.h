// IntegerSum: the weighted sum of client updates as integers on a grid that is fixed for the run. Integer addition is
// associative, so arrival order and threads cannot change a bit of the result; memory is one accumulator whatever the
// number of clients. Masked and noised sums are integers on the same grid. Dividing by the weights is the reducer's
// work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "peft/params/layout.h"

namespace fedpeft::aggregation {

/// The bounds that fix the grid of a run.
struct SumSpec {
  /// The largest absolute value of an update.
  double max_abs = 0;
  /// The largest weight of one update.
  std::uint64_t max_weight = 1;
  /// The largest number of updates in one sum.
  std::uint64_t max_contributions = 1;
};

/// The exponent s of the grid 2^−s: min(62 − ⌈log2(max_abs · max_weight · max_contributions)⌉,
/// 50 − ⌈log2(max_abs · max_weight)⌉). The first term keeps every sum within int64. The second keeps one weighted value
/// within 2^50, where adding and subtracting 1.5·2^52 rounds a double to an integer. May be negative.
/// Errors: kInvalidArgument when a bound is not positive and finite, or the weights cannot add up within 2^53.
Result<int> GridExponent(const SumSpec& spec);

/// Reads bytes [offset, offset + out.size()) of an update; the same bytes each time it is asked.
using UpdateReader = std::function<Status(std::uint64_t offset, MutableByteSpan out)>;

/// Threads: none of its own; the owner serialises calls.
class IntegerSum {
 public:
  /// An empty sum. `layout` names the tensors of `payload` in refusals.
  /// Errors: those of GridExponent; kInvalidArgument when a segment's max_abs is beyond `spec.max_abs`.
  static Result<IntegerSum> Make(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload, const SumSpec& spec);

  /// Adds round(v · weight · 2^s) for every little-endian float32 v of an update, ties to even. The update is read
  /// twice: once to validate it whole, once to add it, so that a refused update leaves the sum as it was.
  /// Errors: kInvalidArgument for a wrong length, a weight outside [1, max_weight], or a value that is not finite or
  /// beyond its segment's max_abs (the message names tensor and element); kResourceExhausted when max_contributions are
  /// in; the reader's own error if it fails on the first pass. kDataLoss when it fails or changes its bytes on the
  /// second pass: the sum then holds half an update and takes and gives nothing more.
  /// Exactness: v · weight is exact for weights below 2^29 and otherwise rounded once to double; scaling is exact.
  /// Cost: 64 KiB of memory besides the accumulator.
  Status Add(std::uint64_t length, const UpdateReader& reader, std::uint64_t weight);
  /// The same for an update in memory, at any alignment.
  Status Add(ByteSpan update, std::uint64_t weight);

  /// Σ round(v · w · 2^s), a value per payload element.
  std::span<const std::int64_t> values() const { return values_; }
  int grid_exponent() const { return exponent_; }
  std::uint64_t total_weight() const { return total_weight_; }
  std::uint64_t contributions() const { return contributions_; }
  /// Whether a failed second pass has left half an update behind.
  bool spoiled() const { return spoiled_; }

 private:
  /// A segment as the loops want it.
  struct Bound {
    std::size_t tensor = 0;
    /// Payload elements [begin, end).
    std::size_t begin = 0;
    std::size_t end = 0;
    /// The largest float that is not beyond the segment's max_abs.
    float max_abs = 0;
  };

  IntegerSum() = default;
  Status CheckOffer(std::uint64_t length, std::uint64_t weight) const;
  /// Reads the update piece by piece, validates each piece, and adds it when `weight` is not 0.
  Status Walk(const UpdateReader& reader, std::uint64_t weight);
  Status CheckPiece(std::span<const float> piece, std::size_t begin) const;
  Status Refusal(const Bound& bound, std::size_t element, float value) const;

  std::shared_ptr<const ParamLayout> layout_;
  std::vector<Bound> bounds_;
  SumSpec spec_;
  int exponent_ = 0;

  std::vector<std::int64_t> values_;
  std::uint64_t total_weight_ = 0;
  std::uint64_t contributions_ = 0;
  bool spoiled_ = false;
};

}  // namespace fedpeft::aggregation
