#include "peft/method/rank_scores.h"

#include <cmath>

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
  for (std::size_t e = 0; e < specs.size(); ++e) {
    if (specs[e].role != Role::kLoraE) continue;
    const auto rank = static_cast<std::size_t>(specs[e].shape[0]);
    const auto score = [&](std::size_t tensor, std::size_t element) {
      const std::size_t at = layout_->offset(tensor) + element;
      return static_cast<double>(sensitivity_[at] * uncertainty_[at]);
    };
    const auto in = static_cast<std::size_t>(specs[e - 1].shape[1]);
    const auto out = static_cast<std::size_t>(specs[e + 1].shape[0]);
    for (std::size_t k = 0; k < rank; ++k) {
      double row = 0, column = 0;
      for (std::size_t j = 0; j < in; ++j) row += score(e - 1, k * in + j);
      for (std::size_t i = 0; i < out; ++i) column += score(e + 1, i * rank + k);
      scores.push_back(score(e, k) + row / static_cast<double>(in) + column / static_cast<double>(out));
    }
  }
  return scores;
}

void RankScores::Write(ParamVector& params) const {
  const std::vector<double> scores = Scores();
  double sum = 0;
  std::size_t used = 0, at = 0;
  const auto& specs = layout_->tensors();
  const auto for_each = [&](auto use) {
    at = 0;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      if (specs[i].role != Role::kRankMask) continue;
      const std::span<const float> mask = params.tensor(i);
      for (std::size_t k = 0; k < mask.size(); ++k) use(params.tensor(i + 1)[k], mask[k] != 0, scores[at++]);
    }
  };
  for_each([&](float&, bool in_use, double score) {
    used += in_use ? 1 : 0;
    sum += in_use ? score : 0;
  });
  for_each([&](float& out, bool in_use, double score) {
    const double share = sum > 0 ? score / sum : 1 / static_cast<double>(used);
    out = in_use ? static_cast<float>(share) : 0.0f;
  });
}

}  // namespace fedpeft
