#include "privacy/secagg/secure_vector.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "peft/core/check.h"
#include "peft/core/parallel.h"
#include "privacy/noise/draws.h"
#include "privacy/noise/skellam.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/rotation.h"

namespace fedpeft::privacy {

namespace {

/// Binary digits of a clipped value behind the grid's.
constexpr int kFiner = 24;

/// To a norm of `clip`; values stay far finer than the grid 2^−exponent.
void Clip(double clip, const ClipGroups& groups, int exponent, std::span<float> values) {
  VectorClip clipped(clip, groups);
  clipped.Measure(0, values);
  clipped.Clip(0, values, exponent + kFiner);
}

std::uint64_t RoundedUp(std::uint64_t value, std::uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

SecureVectorLayout::SecureVectorLayout(const SecureVectorSpec& spec, const Quantizer& quantizer,
                                       const CounterCode& code)
    : spec_(spec), quantizer_(quantizer), code_(code) {
  elements_ = RoundedUp(coded_values() + counters() * code_.limbs() + kCanaries, kMaskAlignment);
}

Result<SecureVectorLayout> SecureVectorLayout::Make(const SecureVectorSpec& spec) {
  if (spec.values == 0 || spec.counters == 0) {
    return InvalidArgument("secure vector: want at least one value and one counter");
  }
  ASSIGN_OR_RETURN(const Quantizer quantizer, Quantizer::Make(spec.budget, spec.exponent));
  ASSIGN_OR_RETURN(const CounterCode code, CounterCode::Make(spec.budget));
  return SecureVectorLayout(spec, quantizer, code);
}

std::uint64_t SecureVectorLayout::coded_values() const {
  return spec_.rotation ? RotatedSize(spec_.values) : spec_.values;
}

std::uint64_t SecureVectorLayout::packed_bytes() const {
  return PackedBytes(elements_, spec_.budget.bits);
}

Status SecureVectorLayout::CheckWeight(std::int64_t weight) const {
  if (weight >= 1 && static_cast<std::uint64_t>(weight) <= spec_.budget.max_weight) return OkStatus();
  return InvalidArgument("update: got a weight of " + std::to_string(weight) + ", want 1 to " +
                         std::to_string(spec_.budget.max_weight));
}

std::vector<float> SecureVectorLayout::Rotated(std::span<const float> values) const {
  std::vector<float> rotated(values.begin(), values.end());
  if (!spec_.rotation) return rotated;
  rotated.resize(coded_values());
  Rotate(SecretKey(*spec_.rotation), rotated);
  return rotated;
}

void SecureVectorLayout::EncodeCounters(std::span<const std::int64_t> counters, std::uint64_t saturated,
                                        std::span<std::uint32_t> elements) const {
  std::span<std::uint32_t> rest = elements.subspan(coded_values());
  for (std::size_t i = 0; i < this->counters(); ++i) {
    const std::int64_t number = i < counters.size() ? counters[i] : static_cast<std::int64_t>(saturated);
    code_.Encode(number, rest.first(code_.limbs()));
    rest = rest.subspan(code_.limbs());
  }
}

Result<std::vector<std::uint32_t>> SecureVectorLayout::Encode(std::span<const float> values,
                                                              std::span<const std::int64_t> counters,
                                                              RandomSource& random) const {
  FEDPEFT_CHECK(values.size() == spec_.values && counters.size() == spec_.counters);
  RETURN_IF_ERROR(CheckWeight(counters[0]));
  const std::vector<float> coded = Rotated(values);
  // Rotated too: large values may have added up to none.
  if (!std::ranges::all_of(coded, [](float value) { return std::isfinite(value); })) {
    return InvalidArgument("update: got a value that is not finite");
  }
  std::vector<std::uint32_t> elements(elements_);
  const auto weight = static_cast<std::uint64_t>(counters[0]);
  const std::uint64_t saturated = quantizer_.Encode(coded, weight, random, std::span(elements).first(coded.size()));
  EncodeCounters(counters, saturated, elements);
  return elements;
}

double SecureVectorLayout::Sensitivity(double clip) const {
  return RoundedNorm(std::ldexp(clip, spec_.exponent), coded_values());
}

Result<std::vector<std::uint32_t>> SecureVectorLayout::EncodePrivate(std::span<const float> values,
                                                                     const ClientNoise& noise,
                                                                     std::span<const std::int64_t> counters,
                                                                     RandomSource& random) const {
  FEDPEFT_CHECK(values.size() == spec_.values && counters.size() == spec_.counters);
  RETURN_IF_ERROR(CheckWeight(counters[0]));
  std::vector<float> clipped(values.begin(), values.end());
  Clip(noise.clip, noise.groups, spec_.exponent, clipped);
  std::vector<float> coded = Rotated(clipped);
  Clip(noise.clip, {}, spec_.exponent, coded);  // a rotation keeps the norm but for what it rounds
  std::vector<std::uint32_t> elements(elements_);
  const std::span<std::uint32_t> own = std::span(elements).first(coded.size());
  const double sensitivity = Sensitivity(noise.clip);
  const std::uint64_t saturated = quantizer_.EncodeWithin(coded, sensitivity, random, own);
  const double deviation = noise.noise_multiplier * sensitivity;
  const Skellam skellam(deviation * deviation / static_cast<double>(noise.makers));
  DrawInParallel(own.size(), Cores(), random, [&](RandomBits& bits, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) own[i] += static_cast<std::uint32_t>(skellam.Draw(bits));
  });
  EncodeCounters(counters, saturated, elements);
  return elements;
}

MaskedSum::MaskedSum(SecureVectorLayout layout) : layout_(std::move(layout)), elements_(layout_.elements()) {}

Status MaskedSum::AddPiece(std::uint64_t first, ByteSpan packed) {
  const int bits = layout_.spec().budget.bits;
  const std::uint64_t count = packed.size() * 8 / static_cast<std::uint64_t>(bits);
  FEDPEFT_CHECK(first % kMaskAlignment == 0);
  if (first > elements_.size() || count > elements_.size() - first) {
    return InvalidArgument("masked vector: got elements behind its end");
  }
  const std::scoped_lock lock(mutex_);
  return AddPackedRing(packed, bits, std::span(elements_).subspan(first, count));
}

void MaskedSum::Unmask(std::span<const Mask> masks, unsigned threads, MaskKernel kernel) {
  const std::uint64_t share = RoundedUp(elements_.size() / std::max(threads, 1u) + 1, kMaskAlignment);
  ForEachPart((elements_.size() + share - 1) / share, std::max(threads, 1u), [&](std::size_t part) {
    const std::uint64_t first = part * share;
    const auto piece = std::span(elements_).subspan(first, std::min<std::uint64_t>(share, elements_.size() - first));
    AddMasks(masks, first, piece, kernel);
  });
}

Result<SecureMean> MaskedSum::Finish(std::uint64_t clients, std::optional<double> denominator) const {
  const SecureVectorSpec& spec = layout_.spec_;
  const std::span<const std::uint32_t> elements = elements_;
  std::span<const std::uint32_t> rest = elements.subspan(layout_.coded_values());
  SecureMean result;
  for (std::size_t i = 0; i < layout_.counters(); ++i) {
    result.counters.push_back(layout_.code_.Decode(rest.first(layout_.code_.limbs())));
    rest = rest.subspan(layout_.code_.limbs());
  }
  const std::uint32_t mask = RingMask(spec.budget.bits);
  if (std::ranges::any_of(rest, [mask](std::uint32_t element) { return (element & mask) != 0; })) {
    return DataLoss("secure sum: its canaries are not zero (a client sent what is no vector, or other parameters)");
  }
  const std::int64_t weight = result.counters[0];
  if (clients == 0 || weight < static_cast<std::int64_t>(clients) ||
      static_cast<std::uint64_t>(weight) > clients * spec.budget.max_weight) {
    return DataLoss("secure sum: got a weight of " + std::to_string(weight) + " for " + std::to_string(clients) +
                    " clients, want 1 to " + std::to_string(spec.budget.max_weight) + " each");
  }
  const std::int64_t saturated = result.counters.back();
  if (saturated < 0 || static_cast<std::uint64_t>(saturated) > clients * layout_.coded_values()) {
    return DataLoss("secure sum: got " + std::to_string(saturated) + " saturated values, want at most all");
  }
  const double unit = std::ldexp(1.0 / denominator.value_or(static_cast<double>(weight)), -spec.exponent);
  result.mean.resize(layout_.coded_values());
  for (std::size_t i = 0; i < result.mean.size(); ++i) {
    result.mean[i] = static_cast<float>(Centered(elements[i], spec.budget.bits) * unit);
  }
  for (const float value : result.mean) result.largest = std::max(result.largest, std::abs(double{value}));
  if (spec.rotation) RotateBack(SecretKey(*spec.rotation), result.mean);
  result.mean.resize(spec.values);
  return result;
}

}  // namespace fedpeft::privacy
