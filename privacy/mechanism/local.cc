#include "privacy/mechanism/local.h"

#include <cmath>

#include "privacy/noise/discrete_gaussian.h"

namespace fedpeft::privacy {

std::uint64_t ClipAndHide(std::span<float> values, double clip, const ClipGroups& groups, double noise_multiplier,
                          RandomSource& random) {
  VectorClip clipped(clip, groups);
  clipped.Measure(0, values);
  const double deviation = noise_multiplier * clip;
  const int grid = GridFor(deviation);
  clipped.Clip(0, values, grid);
  const DiscreteGaussian noise(std::ldexp(deviation, grid));
  RandomBits bits(random);
  for (float& value : values) {
    const double steps = std::ldexp(static_cast<double>(value), grid) + static_cast<double>(noise.Draw(bits));
    value = static_cast<float>(std::ldexp(steps, -grid));
  }
  return clipped.not_finite();
}

}  // namespace fedpeft::privacy
