// The Gaussian mechanism without sampling: exact trade-offs of ε and δ, in closed form.
#pragma once

namespace fedpeft::privacy {

// A noise multiplier is the noise's standard deviation over the sensitivity, > 0.

/// The smallest δ for an ε ≥ 0. Source: Balle and Wang 2018, theorem 8.
double GaussianDelta(double noise_multiplier, double epsilon);
/// The smallest ε for a δ in (0, 1).
double GaussianEpsilon(double noise_multiplier, double delta);
/// The smallest noise multiplier for an ε > 0 and a δ in (0, 1).
double GaussianNoise(double epsilon, double delta);

}  // namespace fedpeft::privacy
