// Sampler: which token comes next, from the scores of all of them. Torch-free.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "peft/core/random.h"
#include "peft/core/status.h"

namespace fedpeft {

struct SamplingOptions {
  /// Scores are divided by it; 0: always the likeliest token (greedy), the lowest id among equals.
  double temperature = 0;
  /// Above 0: only the likeliest tokens that together reach this probability, as few as possible. 1: all.
  double top_p = 1;
};

/// Errors: kInvalidArgument for a temperature that is negative or not finite, or top_p outside (0, 1].
Status CheckSampling(const SamplingOptions& options);

struct TokenChance {
  std::int32_t id = 0;
  /// Not normalised: the likeliest token has 1.
  double weight = 0;
};

/// The tokens that `options` leave to chance and their weights, softmax(scores / temperature) up to a common factor; in
/// order of id, or of falling weight with top_p below 1. Never empty; no weight overflows, however large the scores.
/// Pre: options checked, temperature > 0, scores not empty.
/// Errors: kAborted for scores that are NaN or +∞.
/// Source: Holtzman et al. 2020 (nucleus sampling); with the borders of transformers' TopPLogitsWarper.
Result<std::vector<TokenChance>> Chances(std::span<const float> scores, const SamplingOptions& options);

/// Draws from a stream of its own: the same seed gives the same tokens. Not for two threads at once.
class Sampler {
 public:
  /// Pre: options checked.
  Sampler(const SamplingOptions& options, std::uint64_t seed) : options_(options), stream_(seed, "sampling") {}

  /// Errors: those of Chances. Shapes: scores [V].
  Result<std::int32_t> Next(std::span<const float> scores);

 private:
  SamplingOptions options_;
  RandomStream stream_;
};

}  // namespace fedpeft
