#include "privacy/mechanism/clip.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace fedpeft::privacy {

namespace {

/// Products are rounded to float32: by 2^−24 of themselves at most.
constexpr double kRoom = 1 - 0x1p-23;

}  // namespace

void NormCounter::Add(std::span<const float> piece) {
  for (const float value : piece) {
    if (std::isfinite(value)) {
      squares_ += static_cast<double>(value) * static_cast<double>(value);
    } else {
      ++not_finite_;
    }
  }
}

double NormCounter::norm() const {
  return std::sqrt(squares_);
}

double ClipFactor(double norm, double clip) {
  return norm <= clip ? 1.0 : clip / norm * kRoom;
}

void ClipPiece(std::span<float> piece, double factor, int exponent) {
  const double up = std::ldexp(1.0, exponent), down = std::ldexp(1.0, -exponent);
  for (float& value : piece) {
    const auto scaled = static_cast<float>(static_cast<double>(value) * factor);
    value = std::isfinite(scaled) ? static_cast<float>(std::trunc(static_cast<double>(scaled) * up) * down) : 0.0f;
  }
}

VectorClip::VectorClip(double clip, const ClipGroups& groups) : groups_(groups) {
  if (groups.shares.empty()) parts_.push_back({clip, {}});
  for (const double share : groups.shares) parts_.push_back({clip * std::sqrt(share) * kRoom, {}});
}

void VectorClip::Measure(std::uint64_t first, std::span<const float> piece) {
  groups_.ForEach(first, piece, [&](std::span<const float> part, std::size_t group) { parts_[group].norm.Add(part); });
}

void VectorClip::Clip(std::uint64_t first, std::span<float> piece, int exponent) const {
  ForEach(first, piece, [&](std::span<float> part, double factor) { ClipPiece(part, factor, exponent); });
}

bool VectorClip::within() const {
  return std::ranges::all_of(parts_, [](const Group& part) { return part.norm.norm() <= part.clip; });
}

std::uint64_t VectorClip::not_finite() const {
  std::uint64_t count = 0;
  for (const Group& part : parts_) count += part.norm.not_finite();
  return count;
}

double AdaptiveClip::Next(double clip, double within) const {
  return clip * std::exp(-rate * (within - quantile));
}

Result<double> AdaptiveClip::VectorNoise(double noise_multiplier) const {
  if (noise_multiplier >= 2 * count_noise) {
    return InvalidArgument("adaptive clipping: got a noise of " + std::to_string(count_noise) +
                           " on the number of clients within the norm, want more than half the noise multiplier " +
                           std::to_string(noise_multiplier));
  }
  // 1/z² = 1/z_vector² + 1/(2·count_noise)²: a client changes the count, less a half, by a half.
  const double count = 0.25 / (count_noise * count_noise);
  return 1 / std::sqrt(1 / (noise_multiplier * noise_multiplier) - count);
}

}  // namespace fedpeft::privacy
