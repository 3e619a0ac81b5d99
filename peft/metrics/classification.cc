#include "peft/metrics/classification.h"

#include <cmath>
#include <limits>
#include <string>

#include "peft/core/bytes.h"

namespace fedpeft {

namespace {

constexpr double kLossGrid = 0x1p-20;
constexpr double kMaxLossSum = 0x1p40;
constexpr std::uint64_t kMaxTotal = std::numeric_limits<std::int64_t>::max();

}  // namespace

Status ClassificationTotals::Add(std::uint64_t examples, std::uint64_t correct, double loss_sum) {
  if (correct > examples) {
    return InvalidArgument("evaluation: got " + std::to_string(correct) + " correct, want at most its " +
                           std::to_string(examples) + " examples");
  }
  if (!(loss_sum >= 0 && loss_sum < kMaxLossSum)) {
    return InvalidArgument("evaluation: got a loss sum of " + std::to_string(loss_sum) + ", want 0 to below 2^40");
  }
  std::uint64_t all_examples = 0;
  std::uint64_t all_loss = 0;
  if (!CheckedAdd(examples_, examples, all_examples) || all_examples > kMaxTotal ||
      !CheckedAdd(loss_, static_cast<std::uint64_t>(std::llrint(loss_sum / kLossGrid)), all_loss) ||
      all_loss > kMaxTotal) {
    return OutOfRange("evaluation: got " + std::to_string(examples) + " examples and a loss sum of " +
                      std::to_string(loss_sum) + ", want totals that fit in 63 bits");
  }
  examples_ = all_examples;
  correct_ += correct;
  loss_ = all_loss;
  return OkStatus();
}

double ClassificationTotals::loss_sum() const {
  return static_cast<double>(loss_) * kLossGrid;
}

std::optional<double> ClassificationTotals::accuracy() const {
  if (examples_ == 0) return std::nullopt;
  return static_cast<double>(correct_) / static_cast<double>(examples_);
}

std::optional<double> ClassificationTotals::mean_loss() const {
  if (examples_ == 0) return std::nullopt;
  return loss_sum() / static_cast<double>(examples_);
}

}  // namespace fedpeft
