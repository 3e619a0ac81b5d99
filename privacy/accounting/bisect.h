// Bisection of monotone functions.
#pragma once

#include <cmath>

namespace fedpeft::privacy {

/// Where `holds` begins to hold between low and high, from above: a value at which it holds, relatively within that.
/// Pre: 0 ≤ low < high, it holds at high, and wherever it holds it holds above.
template <typename Holds>
double SmallestWhere(double low, double high, Holds holds, double within = 1e-12) {
  while (high - low > within * high) {
    const double middle = low > 0 && high > 4 * low ? std::sqrt(low * high) : low + (high - low) / 2;
    (holds(middle) ? high : low) = middle;
  }
  return high;
}

/// The same from `low` upwards to the first power of two times `first` at which it holds.
template <typename Holds>
double SmallestFrom(double low, double first, Holds holds) {
  double high = first;
  while (!holds(high)) {
    low = high;
    high *= 2;
  }
  return SmallestWhere(low, high, holds);
}

}  // namespace fedpeft::privacy
