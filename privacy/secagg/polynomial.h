// Polynomials over the field of field.h: what decoding shares with errors in them takes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace fedpeft::privacy {

/// Coefficients by degree, without zeros at the end; empty: the zero polynomial.
using Polynomial = std::vector<std::uint64_t>;

std::uint64_t ValueAt(const Polynomial& polynomial, std::uint64_t x);

/// λ_i with f(0) = Σ λ_i f(x_i) for every f of a degree below the number of points.
/// Pre: the x are distinct, below 2^61 − 1 and not 0.
std::vector<std::uint64_t> LagrangeAtZero(std::span<const std::uint64_t> x);

/// The polynomial of a degree below `terms` that has all but at most (x.size() − terms)/2 of these values, if there is
/// one. Pre: the x are distinct; as many y; 1 ≤ terms ≤ x.size(). Source: Gao 2003, a new algorithm for decoding
/// Reed-Solomon codes.
std::optional<Polynomial> DecodeReedSolomon(std::span<const std::uint64_t> x, std::span<const std::uint64_t> y,
                                            std::size_t terms);

}  // namespace fedpeft::privacy
