#include "privacy/noise/noise_parts.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace fedpeft::privacy {

void FillNoise(const DiscreteGaussian& noise, const SecretKey& key, std::span<double> out) {
  RandomBits bits(key);
  for (double& value : out) value = static_cast<double>(noise.Draw(bits));
}

void ForEachPart(std::size_t parts, const std::function<void(std::size_t part)>& make) {
  const std::size_t threads = std::max(1u, std::thread::hardware_concurrency());
  const std::size_t share = std::max<std::size_t>(1, (parts + threads - 1) / threads);
  const auto run = [&](std::size_t first) {
    for (std::size_t part = first; part < std::min(first + share, parts); ++part) make(part);
  };
  std::vector<std::jthread> others;
  for (std::size_t first = share; first < parts; first += share) others.emplace_back(run, first);
  run(0);
}

}  // namespace fedpeft::privacy
