#include "server/private_sum.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/check.h"
#include "peft/core/parallel.h"
#include "privacy/noise/discrete_gaussian.h"
#include "privacy/noise/draws.h"

namespace fedpeft::server {
namespace {

/// Noise beyond so many standard deviations does not happen: less than e^−2000.
constexpr double kDeviations = 64;
/// Values that are read at a time.
constexpr std::size_t kPiece = 16 * 1024;

/// Of a buffer of floats.
std::span<float> Floats(MutableByteSpan bytes) {
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

}  // namespace

Result<PrivateSum> PrivateSum::Make(std::shared_ptr<const ParamLayout> layout, PayloadLayout payload,
                                    const Setup& setup) {
  double vector_noise = setup.noise_multiplier;
  if (setup.adaptive) {
    ASSIGN_OR_RETURN(vector_noise, setup.adaptive->VectorNoise(setup.noise_multiplier));
  }
  if (setup.correlated) vector_noise *= setup.correlated->spec.Sensitivity();
  for (Segment& segment : payload.segments) segment.max_abs = setup.clip;
  const auto room = static_cast<std::uint64_t>(std::ceil(kDeviations * vector_noise)) + 1;
  const aggregation::SumSpec spec{setup.clip, 1, setup.most + room};
  ASSIGN_OR_RETURN(aggregation::IntegerSum sum,
                   aggregation::IntegerSum::Make(std::move(layout), std::move(payload), spec));
  PrivateSum made(setup, vector_noise, std::move(sum));
  if (made.deviation_ <= privacy::kMostDeviation) return made;
  return InvalidArgument("noise multiplier: got " + std::to_string(setup.noise_multiplier) +
                         ", want less for so many values and rounds of correlated noise");
}

PrivateSum::PrivateSum(const Setup& setup, double vector_noise, aggregation::IntegerSum sum)
    : setup_(setup), sum_(std::move(sum)) {
  grid_ = std::min(privacy::GridFor(vector_noise * setup_.clip), sum_.grid_exponent());
  deviation_ = std::ldexp(vector_noise * setup_.clip, grid_);
  if (setup_.correlated) {
    // To give the same sums without a client, Z would have to be another: by its rows of C·X, and, as the solver rounds
    // what it takes off, by up to a step more for each value in each round.
    const double values = static_cast<double>(sum_.values().size());
    deviation_ += setup_.noise_multiplier * std::sqrt(values * setup_.correlated->spec.rounds);
  }
}

Status PrivateSum::Add(std::uint64_t length, const aggregation::UpdateReader& reader, std::uint64_t weight) {
  FEDPEFT_CHECK(weight == 1);
  privacy::VectorClip clip(setup_.clip, setup_.groups);
  const std::uint64_t values = sum_.values().size();
  if (length == values * sizeof(float)) {  // or the sum says what is wrong with it
    std::vector<float> buffer(std::min<std::uint64_t>(kPiece, values));
    for (std::uint64_t first = 0; first < values; first += buffer.size()) {
      const auto piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), values - first));
      RETURN_IF_ERROR(
          reader(first * sizeof(float), {reinterpret_cast<std::uint8_t*>(piece.data()), piece.size_bytes()}));
      clip.Measure(first, piece);
    }
  }
  const auto clipped = [&](std::uint64_t offset, MutableByteSpan out) {
    RETURN_IF_ERROR(reader(offset, out));
    clip.Clip(offset / sizeof(float), Floats(out), grid_);
    return OkStatus();
  };
  RETURN_IF_ERROR(sum_.Add(length, clipped, 1));
  balance_ += clip.within() ? 1 : -1;
  not_finite_ += clip.not_finite();
  return OkStatus();
}

Result<RoundMean> PrivateSum::Finish() {
  if (sum_.spoiled()) return DataLoss("sum: holds half an update since a read failed (repeat the attempt)");
  const std::span<const std::int64_t> values = sum_.values();
  RoundMean outcome;
  std::vector<float>& mean = outcome.reduced.mean;
  mean.resize(values.size());
  outcome.reduced.total_weight = outcome.reduced.contributions = sum_.contributions();
  const std::int64_t step = std::int64_t{1} << (sum_.grid_exponent() - grid_);
  const double scale = std::ldexp(1 / setup_.expected, -sum_.grid_exponent());
  const auto put = [&](std::size_t i, std::int64_t noise) {
    mean[i] = static_cast<float>(static_cast<double>(values[i] + step * noise) * scale);
  };
  if (setup_.correlated && setup_.correlated->noise) {
    // A round that is repeated, because it was lost after this or the coordinator was killed, gets the same noise
    // again, with the updates of other clients. The difference would tell of these, but nothing of a round that is not
    // committed is ever given out.
    const PrivateSum::Correlated& correlated = *setup_.correlated;
    ForEachPart(privacy::NoiseParts(values.size()), Cores(), [&](std::size_t part) {
      std::size_t i = part * privacy::kNoisePart;
      for (const double noise : correlated.noise->Of(correlated.round, part))
        put(i++, static_cast<std::int64_t>(noise));
    });
  } else {
    const privacy::DiscreteGaussian noise(deviation_);
    privacy::DrawInParallel(values.size(), Cores(), *setup_.random,
                            [&](privacy::RandomBits& bits, std::size_t begin, std::size_t end) {
                              for (std::size_t i = begin; i < end; ++i) put(i, noise.Draw(bits));
                            });
  }
  outcome.next_clip = setup_.clip;
  outcome.not_finite = not_finite_;
  if (setup_.adaptive) {
    privacy::RandomBits bits(*setup_.random);
    const privacy::DiscreteGaussian count_noise(2 * setup_.adaptive->count_noise);
    const auto balance = static_cast<double>(balance_ + count_noise.Draw(bits));
    outcome.next_clip = setup_.adaptive->Next(setup_.clip, 0.5 + balance / (2 * setup_.expected));
  }
  return outcome;
}

}  // namespace fedpeft::server
