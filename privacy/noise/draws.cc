#include "privacy/noise/draws.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace fedpeft::privacy {

namespace {

/// Draws that are worth a thread.
constexpr std::size_t kFewest = 16 * 1024;

}  // namespace

void DrawInParallel(std::size_t size, std::size_t threads, RandomSource& random,
                    const std::function<void(RandomBits& bits, std::size_t begin, std::size_t end)>& draw) {
  const std::size_t share = std::max(kFewest, (size + threads - 1) / threads);
  const auto draw_range = [&](SecretKey key, std::size_t begin) {
    RandomBits bits(key);
    draw(bits, begin, std::min(begin + share, size));
  };
  std::vector<std::jthread> others;
  for (std::size_t begin = share; begin < size; begin += share) {
    others.emplace_back(draw_range, RandomSecret<32>(random), begin);
  }
  draw_range(RandomSecret<32>(random), 0);
}

}  // namespace fedpeft::privacy
