#include "client/example_gradients.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "client/batches.h"
#include "client/example_batch.h"
#include "configs/clip_groups.h"
#include "peft/method/hook.h"
#include "peft/method/optimizer.h"

namespace fedpeft::client {

namespace {

/// Of the gradients that are there at once: 256 MiB of floats, as they come from autograd and in one matrix.
constexpr std::size_t kMostElements = std::size_t{1} << 25;

Status CheckPositive(const char* what, double value) {
  if (std::isfinite(value) && value > 0) return OkStatus();
  return InvalidArgument(std::string("example-level privacy: ") + what + ": got " + std::to_string(value) +
                         ", want a finite number above 0");
}

std::size_t TrainedSize(const ParamLayout& layout, const ViewSpec& view) {
  std::size_t size = 0;
  for (const FlatRange& range : TrainedRanges(layout, view)) size += range.end - range.begin;
  return size;
}

/// The gradient of each of some rows.
struct RowGradients {
  /// Shapes: [rows, trained elements], contiguous.
  torch::Tensor values;
  std::int64_t tokens = 0;
  double loss = 0;

  bool finite() const { return std::isfinite(values.sum().item<float>()); }
  std::span<const float> row(std::size_t i) const {
    const auto size = static_cast<std::size_t>(values.size(1));
    return {values.const_data_ptr<float>() + i * size, size};
  }
};

Result<RowGradients> GradientsOf(const ExampleGradients::Model& model, const ParamVector& params,
                                 std::span<const Example> examples, std::span<const std::uint32_t> rows,
                                 const ForwardMode& mode) {
  ASSIGN_OR_RETURN(ExampleBatch batch, PackRows(examples, rows, model.base.limits(), LeadOf(model.plan.method)));
  if (model.lower != nullptr) model.lower->Enter(batch);
  auto owned = std::make_shared<const ExampleRows>(ExampleRows::Of(batch.packed, OwnersOf(examples, rows)));
  const BoundParams bound(params, model.view, std::move(owned));
  const std::unique_ptr<Objective> objective =
      MakeObjective(model.problem, model.base, model.plan, model.layout, bound);
  const torch::Tensor loss = objective->SumOfRows(batch, mode);
  return RowGradients{GradientsOfExamples(loss, bound), batch.packed.ids.numel(), loss.item<float>()};
}

}  // namespace

Status CheckExamplePrivacy(const PrivacySpec& spec, const PeftPlan& plan) {
  RETURN_IF_ERROR(CheckPositive("clip", spec.clip));
  // 0: reckoned once the number of examples is known.
  if (spec.noise_multiplier != 0) RETURN_IF_ERROR(CheckPositive("noise_multiplier", spec.noise_multiplier));
  const Status method = CheckExampleGradients(plan.method);
  return method.ok() ? method : method.Annotate("example-level privacy");
}

ExampleGradients::ExampleGradients(const PrivacySpec& privacy, const privacy::PoissonSum& step, const Model& model,
                                   std::span<const Example> examples, std::size_t most_tokens,
                                   privacy::RandomSource& random)
    : model_(model),
      examples_(examples),
      lengths_(LengthsOf(examples)),
      rate_(step.sampling),
      most_tokens_(most_tokens),
      random_(random),
      bits_(random),
      size_(TrainedSize(model.layout, model.view)),
      sum_(size_, {privacy.clip, step.noise_multiplier, examples.size(),
                   GradientClipGroups(privacy, model.layout, model.view)}) {}

std::vector<std::uint32_t> ExampleGradients::DrawRows() {
  std::vector<std::uint32_t> rows;
  for (std::uint32_t row = 0; row < examples_.size(); ++row) {
    if (bits_.Fraction() < rate_) rows.push_back(row);
  }
  return rows;
}

Status ExampleGradients::Add(const ParamVector& params, std::span<const std::uint32_t> rows, const ForwardMode& mode,
                             DrawnBatch& drawn) {
  ASSIGN_OR_RETURN(const RowGradients gradients, GradientsOf(model_, params, examples_, rows, mode));
  if (rows.size() > 1 && !gradients.finite()) {
    // What is not finite spreads through padding to neighbours; alone each says only what it is itself.
    for (const std::uint32_t& row : rows) RETURN_IF_ERROR(Add(params, {&row, 1}, mode, drawn));
    return OkStatus();
  }
  for (std::size_t i = 0; i < rows.size(); ++i) sum_.Add(gradients.row(i));
  drawn.examples += static_cast<std::int64_t>(rows.size());
  drawn.tokens += gradients.tokens;
  drawn.loss += gradients.loss;
  return OkStatus();
}

Result<DrawnBatch> ExampleGradients::Step(const ParamVector& params, const ForwardMode& mode, ParamVector& grads) {
  const std::vector<std::uint32_t> rows = DrawRows();
  std::vector<std::uint32_t> lengths;
  for (const std::uint32_t row : rows) lengths.push_back(lengths_[row]);
  DrawnBatch drawn;
  const std::size_t at_once = std::max<std::size_t>(1, kMostElements / size_);
  for (std::vector<std::uint32_t>& part : SortedBatches(lengths, at_once, most_tokens_)) {
    for (std::uint32_t& index : part) index = rows[index];
    RETURN_IF_ERROR(Add(params, part, mode, drawn));
  }
  std::vector<float> mean(size_);
  sum_.Release(rate_ * static_cast<double>(examples_.size()), static_cast<std::size_t>(at::get_num_threads()), random_,
               mean);
  std::size_t at = 0;
  for (const FlatRange& range : TrainedRanges(model_.layout, model_.view)) {
    std::copy_n(mean.data() + at, range.end - range.begin, grads.values().data() + range.begin);
    at += range.end - range.begin;
  }
  return drawn;
}

}  // namespace fedpeft::client
