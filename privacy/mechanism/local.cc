#include "privacy/mechanism/local.h"

#include <cmath>

#include "privacy/mechanism/clip.h"
#include "privacy/noise/discrete_gaussian.h"

namespace fedpeft::privacy {

std::uint64_t ClipAndHide(std::span<float> values, double clip, double noise_multiplier, RandomSource& random) {
  NormCounter norm;
  norm.Add(values);
  const double deviation = noise_multiplier * clip;
  const int grid = GridFor(deviation);
  ClipPiece(values, ClipFactor(norm.norm(), clip), grid);
  const DiscreteGaussian noise(std::ldexp(deviation, grid));
  RandomBits bits(random);
  for (float& value : values) {
    const double steps = std::ldexp(static_cast<double>(value), grid) + static_cast<double>(noise.Draw(bits));
    value = static_cast<float>(std::ldexp(steps, -grid));
  }
  return norm.not_finite();
}

}  // namespace fedpeft::privacy
