#include "privacy/secagg/polynomial.h"

#include <algorithm>
#include <utility>

#include "peft/core/check.h"
#include "privacy/secagg/field.h"

namespace fedpeft::privacy {

namespace {

using field::Add;
using field::Inverse;
using field::Mul;
using field::Sub;

void Trim(Polynomial& polynomial) {
  while (!polynomial.empty() && polynomial.back() == 0) polynomial.pop_back();
}

/// a − c · x^shift · b, in place.
void SubtractShifted(Polynomial& a, std::uint64_t c, std::size_t shift, const Polynomial& b) {
  if (a.size() < b.size() + shift) a.resize(b.size() + shift);
  for (std::size_t i = 0; i < b.size(); ++i) a[i + shift] = Sub(a[i + shift], Mul(c, b[i]));
  Trim(a);
}

/// Π (x − x_i).
Polynomial FromRoots(std::span<const std::uint64_t> roots) {
  Polynomial product{1};
  for (const std::uint64_t root : roots) {
    product.push_back(0);
    for (std::size_t i = product.size() - 1; i > 0; --i) product[i] = Sub(product[i - 1], Mul(root, product[i]));
    product[0] = Sub(0, Mul(root, product[0]));
  }
  return product;
}

/// `product` / (x − root). Pre: divisible.
Polynomial WithoutRoot(const Polynomial& product, std::uint64_t root) {
  Polynomial quotient(product.size() - 1);
  std::uint64_t carry = 0;
  for (std::size_t i = quotient.size(); i > 0; --i) {
    carry = Add(product[i], Mul(carry, root));
    quotient[i - 1] = carry;
  }
  return quotient;
}

/// The one of a degree below the number of points. `product` is FromRoots(x).
Polynomial Interpolate(std::span<const std::uint64_t> x, std::span<const std::uint64_t> y, const Polynomial& product) {
  Polynomial sum(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Polynomial others = WithoutRoot(product, x[i]);
    const std::uint64_t factor = Mul(y[i], Inverse(ValueAt(others, x[i])));
    for (std::size_t j = 0; j < others.size(); ++j) sum[j] = Add(sum[j], Mul(factor, others[j]));
  }
  Trim(sum);
  return sum;
}

/// Quotient; `a` becomes the remainder. Pre: b is not zero.
Polynomial Divide(Polynomial& a, const Polynomial& b) {
  Polynomial quotient(a.size() < b.size() ? 0 : a.size() - b.size() + 1);
  const std::uint64_t inverse = Inverse(b.back());
  while (a.size() >= b.size()) {
    const std::size_t shift = a.size() - b.size();
    quotient[shift] = Mul(a.back(), inverse);
    SubtractShifted(a, quotient[shift], shift, b);
  }
  return quotient;
}

}  // namespace

std::uint64_t ValueAt(const Polynomial& polynomial, std::uint64_t x) {
  std::uint64_t value = 0;
  for (std::size_t i = polynomial.size(); i > 0; --i) value = Add(Mul(value, x), polynomial[i - 1]);
  return value;
}

std::vector<std::uint64_t> LagrangeAtZero(std::span<const std::uint64_t> x) {
  std::vector<std::uint64_t> weights(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::uint64_t numerator = 1, denominator = 1;
    for (std::size_t j = 0; j < x.size(); ++j) {
      if (j == i) continue;
      numerator = Mul(numerator, x[j]);
      denominator = Mul(denominator, Sub(x[j], x[i]));
    }
    weights[i] = Mul(numerator, Inverse(denominator));
  }
  return weights;
}

std::optional<Polynomial> DecodeReedSolomon(std::span<const std::uint64_t> x, std::span<const std::uint64_t> y,
                                            std::size_t terms) {
  FEDPEFT_CHECK(x.size() == y.size() && terms >= 1 && terms <= x.size());
  // Euclid's algorithm on (product, interpolation), stopped half way: the remainder is then the polynomial that is
  // wanted times the one whose roots are the wrong points.
  Polynomial before = FromRoots(x);
  Polynomial remainder = Interpolate(x, y, before);
  Polynomial locator_before, locator{1};
  while (2 * remainder.size() > x.size() + terms) {
    const Polynomial quotient = Divide(before, remainder);
    std::swap(before, remainder);
    std::swap(locator_before, locator);  // the new one is the older one − quotient · the old one
    for (std::size_t i = 0; i < quotient.size(); ++i) SubtractShifted(locator, quotient[i], i, locator_before);
  }
  Polynomial found = Divide(remainder, locator);
  Trim(found);
  if (!remainder.empty() || found.size() > terms) return std::nullopt;
  return found;
}

}  // namespace fedpeft::privacy
