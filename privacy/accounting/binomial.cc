#include "privacy/accounting/binomial.h"

#include <algorithm>
#include <cmath>

namespace fedpeft::privacy {

double BinomialTail(std::uint64_t trials, double probability, std::uint64_t least) {
  if (least == 0) return 1;
  if (probability == 1) return least <= trials ? 1 : 0;
  const auto n = static_cast<double>(trials);
  double sum = 0;
  for (std::uint64_t count = least; count <= trials; ++count) {
    const auto k = static_cast<double>(count);
    const double log_chance = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                              k * std::log(probability) + (n - k) * std::log1p(-probability);
    sum += std::exp(log_chance);
    if (k > n * probability && log_chance < std::log(sum) - 40) break;
  }
  return std::min(sum, 1.0);
}

double BinomialBelow(std::uint64_t trials, double probability, std::uint64_t least) {
  if (probability == 1) return least > trials ? 1 : 0;
  // As many as are not drawn.
  return least > trials ? 1 : BinomialTail(trials, 1 - probability, trials - least + 1);
}

}  // namespace fedpeft::privacy
