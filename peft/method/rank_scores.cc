#include "peft/method/rank_scores.h"

#include <cmath>

#include "peft/plan/ranks.h"

namespace fedpeft {

RankScores::RankScores(const AdaLoraConfig& config, std::shared_ptr<const ParamLayout> layout)
    : config_(config),
      layout_(std::move(layout)),
      sensitivity_(layout_->size(), 0.0f),
      uncertainty_(layout_->size(), 0.0f) {}

void RankScores::Observe(std::span<const float> values, std::span<const float> grads) {
  const auto beta1 = static_cast<float>(config_.beta1), beta2 = static_cast<float>(config_.beta2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float now = std::abs(values[i] * grads[i]);
    sensitivity_[i] = beta1 * sensitivity_[i] + (1 - beta1) * now;
    uncertainty_[i] = beta2 * uncertainty_[i] + (1 - beta2) * std::abs(now - sensitivity_[i]);
  }
}

std::vector<double> RankScores::Scores() const {
  std::vector<double> scores;
  const auto& specs = layout_->tensors();
  const auto score = [&](std::size_t tensor, std::size_t element) {
    const std::size_t at = layout_->offset(tensor) + element;
    return static_cast<double>(sensitivity_[at] * uncertainty_[at]);
  };
  for (const RankedSite& site : RankedSites(*layout_)) {
    const auto rank = static_cast<std::size_t>(specs[site.a].shape[0]);
    const auto in = static_cast<std::size_t>(specs[site.a].shape[1]);
    const auto out = static_cast<std::size_t>(specs[site.b].shape[0]);
    for (std::size_t k = 0; k < rank; ++k) {
      double row = 0, column = 0;
      for (std::size_t j = 0; j < in; ++j) row += score(site.a, k * in + j);
      for (std::size_t i = 0; i < out; ++i) column += score(site.b, i * rank + k);
      scores.push_back(score(site.e, k) + row / static_cast<double>(in) + column / static_cast<double>(out));
    }
  }
  return scores;
}

void RankScores::Write(ParamVector& params) const {
  const std::vector<double> scores = Scores();
  const std::vector<RankedSite> sites = RankedSites(*layout_);
  double sum = 0;
  std::size_t used = 0, at = 0;
  for (const RankedSite& site : sites) {
    for (const float in_use : params.tensor(site.mask)) {
      used += in_use != 0 ? 1 : 0;
      sum += in_use != 0 ? scores[at] : 0;
      ++at;
    }
  }
  at = 0;
  for (const RankedSite& site : sites) {
    const std::span<const float> mask = params.tensor(site.mask);
    for (std::size_t k = 0; k < mask.size(); ++k, ++at) {
      const double share = sum > 0 ? scores[at] / sum : 1 / static_cast<double>(used);
      params.tensor(site.score)[k] = mask[k] != 0 ? static_cast<float>(share) : 0.0f;
    }
  }
}

}  // namespace fedpeft
