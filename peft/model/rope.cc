#include "peft/model/rope.h"

#include <torch/torch.h>

#include <numbers>

namespace fedpeft {

namespace {

using torch::Tensor;

/// Long wavelengths are stretched by `factor`, short ones kept, and between the two bounds it is interpolated.
Tensor StretchLlama3(const Tensor& plain, const RopeSettings& rope) {
  const auto length = static_cast<double>(rope.original_length);
  const Tensor wavelength = 2 * std::numbers::pi / plain;
  const Tensor stretched = plain / rope.factor;
  const Tensor share = (length / wavelength - rope.low_factor) / (rope.high_factor - rope.low_factor);
  const Tensor between = (1 - share) * stretched + share * plain;
  const Tensor result = torch::where(wavelength < length / rope.high_factor, plain, between);
  return torch::where(wavelength > length / rope.low_factor, stretched, result);
}

}  // namespace

Tensor InverseFrequencies(const RopeSettings& rope, std::int64_t width) {
  const Tensor exponents = torch::arange(0, width, 2, torch::kFloat32) / static_cast<double>(width);
  const Tensor plain = 1.0 / torch::pow(rope.theta, exponents);
  switch (rope.kind) {
    case RopeSettings::Kind::kPlain:
      return plain;
    case RopeSettings::Kind::kLinear:
      return plain / rope.factor;
    case RopeSettings::Kind::kLlama3:
      return StretchLlama3(plain, rope);
  }
  FEDPEFT_CHECK(false);
}

Rotation::Rotation(const Tensor& positions, const Tensor& frequencies, torch::ScalarType dtype) {
  const Tensor angles = positions.to(torch::kFloat32).unsqueeze(1) * frequencies;
  cos_ = angles.cos().to(dtype).unsqueeze(1);
  sin_ = angles.sin().to(dtype).unsqueeze(1);
}

Tensor Rotation::operator()(const Tensor& x) const {
  const std::vector<Tensor> halves = x.chunk(2, /*dim=*/-1);
  return torch::cat({halves[0] * cos_ - halves[1] * sin_, halves[1] * cos_ + halves[0] * sin_}, /*dim=*/-1);
}

}  // namespace fedpeft
