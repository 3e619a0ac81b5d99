#include "server/private_sum.h"

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/check.h"
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
  for (Segment& segment : payload.segments) segment.max_abs = setup.clip;
  const auto room = static_cast<std::uint64_t>(std::ceil(kDeviations * vector_noise)) + 1;
  const aggregation::SumSpec spec{setup.clip, 1, setup.most + room};
  ASSIGN_OR_RETURN(aggregation::IntegerSum sum,
                   aggregation::IntegerSum::Make(std::move(layout), std::move(payload), spec));
  return PrivateSum(setup, vector_noise, std::move(sum));
}

PrivateSum::PrivateSum(const Setup& setup, double vector_noise, aggregation::IntegerSum sum)
    : setup_(setup), vector_noise_(vector_noise), sum_(std::move(sum)) {
  grid_ = std::min(privacy::GridFor(vector_noise_ * setup_.clip), sum_.grid_exponent());
}

Status PrivateSum::Add(std::uint64_t length, const aggregation::UpdateReader& reader, std::uint64_t weight) {
  FEDPEFT_CHECK(weight == 1);
  privacy::NormCounter norm;
  const std::uint64_t values = sum_.values().size();
  if (length == values * sizeof(float)) {  // or the sum says what is wrong with it
    std::vector<float> buffer(std::min<std::uint64_t>(kPiece, values));
    for (std::uint64_t first = 0; first < values; first += buffer.size()) {
      const auto piece = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), values - first));
      RETURN_IF_ERROR(
          reader(first * sizeof(float), {reinterpret_cast<std::uint8_t*>(piece.data()), piece.size_bytes()}));
      norm.Add(piece);
    }
  }
  const double factor = privacy::ClipFactor(norm.norm(), setup_.clip);
  const auto clipped = [&](std::uint64_t offset, MutableByteSpan out) {
    RETURN_IF_ERROR(reader(offset, out));
    privacy::ClipPiece(Floats(out), factor, grid_);
    return OkStatus();
  };
  RETURN_IF_ERROR(sum_.Add(length, clipped, 1));
  balance_ += norm.norm() <= setup_.clip ? 1 : -1;
  not_finite_ += norm.not_finite();
  return OkStatus();
}

Result<RoundMean> PrivateSum::Finish() {
  if (sum_.spoiled()) return DataLoss("sum: holds half an update since a read failed (repeat the attempt)");
  const std::span<const std::int64_t> values = sum_.values();
  RoundMean outcome;
  std::vector<float>& mean = outcome.reduced.mean;
  mean.resize(values.size());
  outcome.reduced.total_weight = outcome.reduced.contributions = sum_.contributions();
  const privacy::DiscreteGaussian noise(std::ldexp(vector_noise_ * setup_.clip, grid_));
  const std::int64_t step = std::int64_t{1} << (sum_.grid_exponent() - grid_);
  const double scale = std::ldexp(1 / setup_.expected, -sum_.grid_exponent());
  const auto fill = [&](privacy::RandomBits& bits, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      mean[i] = static_cast<float>(static_cast<double>(values[i] + step * noise.Draw(bits)) * scale);
    }
  };
  privacy::DrawInParallel(values.size(), std::max(1u, std::thread::hardware_concurrency()), *setup_.random, fill);
  outcome.next_clip = setup_.clip;
  if (setup_.adaptive) {
    privacy::RandomBits bits(*setup_.random);
    const privacy::DiscreteGaussian count_noise(2 * setup_.adaptive->count_noise);
    const auto balance = static_cast<double>(balance_ + count_noise.Draw(bits));
    outcome.next_clip = setup_.adaptive->Next(setup_.clip, 0.5 + balance / (2 * setup_.expected));
  }
  return outcome;
}

}  // namespace fedpeft::server
