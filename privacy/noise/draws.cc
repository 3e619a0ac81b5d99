#include "privacy/noise/draws.h"

#include <algorithm>
#include <vector>

#include "peft/core/parallel.h"

namespace fedpeft::privacy {

void FillNoise(const DiscreteGaussian& noise, const SecretKey& key, std::span<double> out) {
  RandomBits bits(key);
  for (double& value : out) value = static_cast<double>(noise.Draw(bits));
}

void DrawInParallel(std::size_t size, std::size_t threads, RandomSource& random,
                    const std::function<void(RandomBits& bits, std::size_t begin, std::size_t end)>& draw) {
  std::vector<SecretKey> keys(NoiseParts(size));
  for (SecretKey& key : keys) key = RandomSecret<32>(random);
  ForEachPart(keys.size(), threads, [&](std::size_t part) {
    RandomBits bits(keys[part]);
    draw(bits, part * kNoisePart, std::min((part + 1) * kNoisePart, size));
  });
}

}  // namespace fedpeft::privacy
