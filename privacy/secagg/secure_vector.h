// What a client sends under masks, and what the coordinator makes of the sum: the update's values, numbers that are
// counted, and canaries, in one vector of ring elements. Everything that a client says of itself is in here; nothing
// travels beside it.
//
//   values (rotated: padded to blocks) │ counters, by limbs │ 64 canaries, zero │ zeros up to a multiple of 8
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"
#include "privacy/mechanism/clip.h"
#include "privacy/secagg/masks.h"
#include "privacy/secagg/quantize.h"

namespace fedpeft::privacy {

/// Zero in every honest vector, and so in their sum: where masks did not cancel, or somebody sent what is no vector,
/// they are not.
inline constexpr std::size_t kCanaries = 64;

struct SecureVectorSpec {
  /// Of the update.
  std::uint64_t values = 0;
  /// Of numbers that are counted, at least 1: the first is the weight.
  std::size_t counters = 1;
  RingBudget budget;
  /// Values are on the grid 2^−exponent.
  int exponent = 0;
  /// The seed of the rotation, where there is one.
  std::optional<Digest> rotation = {};
};

/// How a client hides its values in a sum that clients make noise for.
struct ClientNoise {
  /// The L2 norm that they are clipped to, > 0.
  double clip = 1;
  /// Standard deviation of the noise of all makers together over Sensitivity(clip), > 0.
  double noise_multiplier = 1;
  /// Clients whose noise is in the sum for certain, at least 1.
  std::uint64_t makers = 1;
  /// How `clip` is divided.
  ClipGroups groups = {};
};

/// Where everything is.
class SecureVectorLayout {
 public:
  /// Errors: those of Quantizer and CounterCode; kInvalidArgument without values or counters.
  static Result<SecureVectorLayout> Make(const SecureVectorSpec& spec);

  const SecureVectorSpec& spec() const { return spec_; }
  /// A multiple of kMaskAlignment.
  std::uint64_t elements() const { return elements_; }
  std::uint64_t packed_bytes() const;
  /// With what saturated, which Encode counts itself, as the last.
  std::size_t counters() const { return spec_.counters + 1; }

  /// A client's vector without its masks. `counters` has spec().counters numbers, the first being `weight`.
  /// Pre: as many values. Errors: kInvalidArgument for a weight outside [1, max_weight], or a value that is not finite.
  Result<std::vector<std::uint32_t>> Encode(std::span<const float> values, std::span<const std::int64_t> counters,
                                            RandomSource& random) const;
  /// The same of values that are clipped, rounded until no longer than Sensitivity, and hidden by Skellam noise; what
  /// is not finite counts as zero. The counters are as they are: want none that tells anything.
  Result<std::vector<std::uint32_t>> EncodePrivate(std::span<const float> values, const ClientNoise& noise,
                                                   std::span<const std::int64_t> counters, RandomSource& random) const;
  /// The most that a client changes the sum's values by, as an L2 norm in steps of the grid, when it clips to `clip`.
  double Sensitivity(double clip) const;
  /// Of the values, rotated or not.
  std::uint64_t coded_values() const;

 private:
  friend class MaskedSum;
  SecureVectorLayout(const SecureVectorSpec& spec, const Quantizer& quantizer, const CounterCode& code);
  Status CheckWeight(std::int64_t weight) const;
  std::vector<float> Rotated(std::span<const float> values) const;
  /// Behind the values: the counters, and what saturated.
  void EncodeCounters(std::span<const std::int64_t> counters, std::uint64_t saturated,
                      std::span<std::uint32_t> elements) const;

  SecureVectorSpec spec_;
  Quantizer quantizer_;
  CounterCode code_;
  std::uint64_t elements_;
};

/// What a sum says, once it is nobody's any more.
struct SecureMean {
  /// The weighted mean of the updates, in their order.
  std::vector<float> mean;
  /// The largest absolute value of it on the grid: rotated, where vectors are.
  double largest = 0;
  /// Sums of the counters; the last is how many values saturated.
  std::vector<std::int64_t> counters;
};

/// The coordinator's accumulator: masked vectors are added as they come, and the masks taken off once.
/// Memory: 4 bytes an element.
class MaskedSum {
 public:
  explicit MaskedSum(SecureVectorLayout layout);

  /// Adds elements `first`, … of a client's packed vector. Of a vector whose digest has been verified, or a half of it
  /// spoils the sum. Threads: any number at once. Pre: `first` is a multiple of kMaskAlignment.
  /// Errors, with nothing added: kInvalidArgument when the piece is not of whole elements of the vector.
  Status AddPiece(std::uint64_t first, ByteSpan packed);

  /// Adds these masks, by that many threads. Once, after all vectors.
  void Unmask(std::span<const Mask> masks, unsigned threads, MaskKernel kernel = FastestMaskKernel());

  /// The mean over the weights, or the sum over that denominator. Errors: kDataLoss when the sum is not one of
  /// `clients` honest vectors: a canary is not zero, or the weights or what saturated cannot be theirs.
  Result<SecureMean> Finish(std::uint64_t clients, std::optional<double> denominator = {}) const;

  const SecureVectorLayout& layout() const { return layout_; }

 private:
  SecureVectorLayout layout_;
  std::mutex mutex_;
  std::vector<std::uint32_t> elements_;  // guarded by mutex_ while vectors are added
};

}  // namespace fedpeft::privacy
