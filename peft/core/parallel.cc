#include "peft/core/parallel.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace fedpeft {

std::size_t Cores() {
  return std::max(1u, std::thread::hardware_concurrency());
}

void ForEachPart(std::size_t parts, std::size_t threads, const std::function<void(std::size_t part)>& work) {
  const std::size_t share = std::max<std::size_t>(1, (parts + threads - 1) / threads);
  const auto run = [&](std::size_t first) {
    for (std::size_t part = first; part < std::min(first + share, parts); ++part) work(part);
  };
  std::vector<std::jthread> others;
  for (std::size_t first = share; first < parts; first += share) others.emplace_back(run, first);
  run(0);
}

}  // namespace fedpeft
