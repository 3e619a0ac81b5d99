#include "privacy/noise/draws.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace fedpeft::privacy {

void FillNoise(const DiscreteGaussian& noise, const SecretKey& key, std::span<double> out) {
  RandomBits bits(key);
  for (double& value : out) value = static_cast<double>(noise.Draw(bits));
}

void ForEachPart(std::size_t parts, std::size_t threads, const std::function<void(std::size_t part)>& make) {
  const std::size_t share = std::max<std::size_t>(1, (parts + threads - 1) / threads);
  const auto run = [&](std::size_t first) {
    for (std::size_t part = first; part < std::min(first + share, parts); ++part) make(part);
  };
  std::vector<std::jthread> others;
  for (std::size_t first = share; first < parts; first += share) others.emplace_back(run, first);
  run(0);
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
