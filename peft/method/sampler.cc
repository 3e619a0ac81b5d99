#include "peft/method/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace fedpeft {

namespace {

/// Errors: kAborted for NaN, or +∞, or nothing but −∞.
Result<std::int32_t> Likeliest(std::span<const float> scores) {
  FEDPEFT_CHECK(!scores.empty());
  std::size_t best = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) return Status(Code::kAborted, "score of a token: is not a number (are the weights?)");
    if (scores[i] > scores[best]) best = i;
  }
  if (!std::isfinite(scores[best])) {
    return Status(Code::kAborted, "highest score of a token: is infinite, want a finite number");
  }
  return static_cast<std::int32_t>(best);
}

bool IsLess(const TokenChance& a, const TokenChance& b) {
  return a.weight < b.weight || (a.weight == b.weight && a.id > b.id);
}

double Total(const std::vector<TokenChance>& chances) {
  double sum = 0;
  for (const TokenChance& chance : chances) sum += chance.weight;
  return sum;
}

/// Takes the likeliest tokens until they have `share` of all the weight. A heap, because they are few of very many.
std::vector<TokenChance> Nucleus(std::vector<TokenChance> chances, double share) {
  const double enough = share * Total(chances);
  std::make_heap(chances.begin(), chances.end(), IsLess);
  auto end = chances.end();
  double sum = 0;
  while (end != chances.begin() && sum < enough) {
    std::pop_heap(chances.begin(), end, IsLess);
    --end;
    sum += end->weight;
  }
  return {chances.rbegin(), std::make_reverse_iterator(end)};
}

}  // namespace

Status CheckSampling(const SamplingOptions& options) {
  if (!(std::isfinite(options.temperature) && options.temperature >= 0)) {
    return InvalidArgument("temperature: got " + std::to_string(options.temperature) + ", want 0 (greedy) or more");
  }
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return InvalidArgument("top_p: got " + std::to_string(options.top_p) + ", want above 0, up to 1");
  }
  return OkStatus();
}

Result<std::vector<TokenChance>> Chances(std::span<const float> scores, const SamplingOptions& options) {
  FEDPEFT_CHECK(options.temperature > 0);
  ASSIGN_OR_RETURN(const std::int32_t best, Likeliest(scores));
  const double highest = scores[static_cast<std::size_t>(best)];
  std::vector<TokenChance> chances;
  chances.reserve(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    chances.push_back({static_cast<std::int32_t>(i), std::exp((scores[i] - highest) / options.temperature)});
  }
  if (options.top_p < 1) return Nucleus(std::move(chances), options.top_p);
  return chances;
}

Result<std::int32_t> Sampler::Next(std::span<const float> scores) {
  if (options_.temperature == 0) return Likeliest(scores);
  ASSIGN_OR_RETURN(const std::vector<TokenChance> chances, Chances(scores, options_));
  double left = stream_.NextDouble() * Total(chances);
  const TokenChance* last = nullptr;
  for (const TokenChance& chance : chances) {
    if (chance.weight == 0) continue;
    last = &chance;
    if (left < chance.weight) break;
    left -= chance.weight;
  }
  return last->id;
}

}  // namespace fedpeft
