#include "peft/method/optimizer.h"

#include <cmath>
#include <utility>

namespace fedpeft {

namespace {

class AdamW final : public Optimizer {
 public:
  AdamW(const AdamWConfig& config, std::size_t size, std::vector<FlatRange> ranges)
      : config_(config), ranges_(std::move(ranges)), mean_(size), square_(size) {}

  void Step(std::span<float> params, std::span<const float> grads, double learning_rate) override {
    ++step_;
    const double correction1 = 1 - std::pow(config_.beta1, static_cast<double>(step_));
    const double correction2 = std::sqrt(1 - std::pow(config_.beta2, static_cast<double>(step_)));
    const auto keep = static_cast<float>(1 - learning_rate * config_.weight_decay);
    const auto rate = static_cast<float>(-learning_rate / correction1);
    const auto new1 = static_cast<float>(1 - config_.beta1), beta2 = static_cast<float>(config_.beta2);
    const auto new2 = static_cast<float>(1 - config_.beta2), epsilon = static_cast<float>(config_.epsilon);
    const auto root = static_cast<float>(correction2);
    for (const FlatRange& range : ranges_) {
      for (std::size_t i = range.begin; i < range.end; ++i) {
        mean_[i] += new1 * (grads[i] - mean_[i]);
        square_[i] = square_[i] * beta2 + new2 * grads[i] * grads[i];
        params[i] = params[i] * keep + rate * mean_[i] / (std::sqrt(square_[i]) / root + epsilon);
      }
    }
  }

 private:
  const AdamWConfig config_;
  const std::vector<FlatRange> ranges_;
  std::int64_t step_ = 0;
  std::vector<float> mean_;
  std::vector<float> square_;
};

class Sgd final : public Optimizer {
 public:
  Sgd(const SgdConfig& config, std::size_t size, std::vector<FlatRange> ranges)
      : config_(config), ranges_(std::move(ranges)), momentum_(config.momentum == 0 ? 0 : size) {}

  void Step(std::span<float> params, std::span<const float> grads, double learning_rate) override {
    const auto rate = static_cast<float>(-learning_rate), decay = static_cast<float>(config_.weight_decay);
    const auto keep = static_cast<float>(config_.momentum);
    for (const FlatRange& range : ranges_) {
      for (std::size_t i = range.begin; i < range.end; ++i) {
        float direction = grads[i] + decay * params[i];
        // The momentum starts at zero, which makes the first step plain, as torch's.
        if (!momentum_.empty()) direction = momentum_[i] = keep * momentum_[i] + direction;
        params[i] += rate * direction;
      }
    }
  }

 private:
  const SgdConfig config_;
  const std::vector<FlatRange> ranges_;
  std::vector<float> momentum_;
};

/// What torch adds to the norm before it divides.
constexpr double kClipEpsilon = 1e-6;

}  // namespace

std::vector<FlatRange> TrainedRanges(const ParamLayout& layout, const ViewSpec& view) {
  std::vector<FlatRange> ranges;
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    if (!view.train[i]) continue;
    if (!ranges.empty() && ranges.back().end == layout.offset(i)) {
      ranges.back().end = layout.offset(i + 1);
    } else {
      ranges.push_back({layout.offset(i), layout.offset(i + 1)});
    }
  }
  return ranges;
}

std::unique_ptr<Optimizer> MakeAdamW(const AdamWConfig& config, std::size_t size, std::vector<FlatRange> ranges) {
  return std::make_unique<AdamW>(config, size, std::move(ranges));
}

std::unique_ptr<Optimizer> MakeSgd(const SgdConfig& config, std::size_t size, std::vector<FlatRange> ranges) {
  return std::make_unique<Sgd>(config, size, std::move(ranges));
}

double ClipGradients(std::span<float> grads, std::span<const FlatRange> ranges, double max_norm) {
  double sum = 0;
  for (const FlatRange& range : ranges) {
    for (std::size_t i = range.begin; i < range.end; ++i) sum += static_cast<double>(grads[i]) * grads[i];
  }
  const double norm = std::sqrt(sum);
  if (max_norm > 0 && norm > max_norm) {
    const auto scale = static_cast<float>(max_norm / (norm + kClipEpsilon));
    for (const FlatRange& range : ranges) {
      for (std::size_t i = range.begin; i < range.end; ++i) grads[i] *= scale;
    }
  }
  return norm;
}

}  // namespace fedpeft
