#include "client/memory.h"

#include <algorithm>

#include "configs/views.h"
#include "peft/plan/sites.h"

namespace fedpeft::client {

namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
/// Measured: a client that has loaded a base, without the base.
constexpr std::uint64_t kProgram = 130 * kMiB;
/// Measured: what LibTorch holds at the peak for each byte that the backward pass needs.
constexpr double kHeldForEachKept = 1.6;
/// Scores of the next token are made for a few tokens at a time (language_model.h); they exist as scores, probabilities
/// and gradient.
constexpr std::uint64_t kScoresAtOnce = 64 * kMiB, kCopiesOfScores = 3;
/// Queries, keys, values and output of attention, and their gradients.
constexpr std::uint64_t kAttentionCopies = 8;
/// What a joined client holds of the parameters: the round's start, the client's, those in training, gradients, AdamW's
/// two moments; initial values where some are never sent, its own where it keeps any, AdaLoRA's two averages.
std::uint64_t CopiesOfTrained(const RunSpec& run, const RunViews& views) {
  const bool scores = std::holds_alternative<AdaLoraConfig>(run.plan.method);
  return 6 + (views.all_shared() ? 0u : 1u) + (views.any_personal() ? 1u : 0u) + (scores ? 2u : 0u);
}

/// Numbers that a layer's forward pass keeps for each token: the outputs of its linears, which attention, activation
/// and norms need; what goes into adapted ones; the product of a gated feed-forward; and attention's own output.
std::int64_t KeptInLayer(int layer, const BaseSites& sites, const std::vector<Site>& adapted, const BaseShape& shape) {
  const std::int64_t wide = shape.intermediate_size;
  std::int64_t kept = 0, wide_linears = 0;
  for (const Site& site : sites.linears) {
    if (site.layer != layer) continue;
    kept += site.out;
    wide_linears += site.out == wide ? 1 : 0;
  }
  if (wide_linears > 1) kept += wide;
  bool reads_stream = false, widens = false, narrows = false;
  for (const Site& site : adapted) {
    if (site.layer != layer) continue;
    widens = widens || site.out == wide;
    narrows = narrows || site.in == wide;
    reads_stream = reads_stream || (site.out != wide && site.in != wide);
  }
  kept += (reads_stream ? shape.hidden_size : 0) + (widens ? shape.hidden_size : 0) + (narrows ? wide : 0);
  for (const AttentionSite& attention : sites.attentions) {
    if (attention.layer == layer) kept += attention.heads * attention.width;
  }
  return kept;
}

/// Of the formats that `auto` may become.
Result<MemoryForecast> ForecastLargest(const BaseInfo& base, RunSpec run) {
  using BaseDtype = TrainSpec::BaseDtype;
  MemoryForecast largest;
  for (const BaseDtype dtype : {BaseDtype::kFloat32, BaseDtype::kBfloat16, BaseDtype::kInt8}) {
    run.train.base_dtype = dtype;
    ASSIGN_OR_RETURN(const MemoryForecast one, ForecastMemory(base, run));
    if (one.total() > largest.total()) largest = one;
  }
  return largest;
}

}  // namespace

Result<MemoryForecast> ForecastMemory(const BaseInfo& base, const RunSpec& run) {
  using BaseDtype = TrainSpec::BaseDtype;
  const BaseDtype dtype = run.train.base_dtype;
  if (dtype == BaseDtype::kAuto) return ForecastLargest(base, run);
  const BaseSites sites = SitesOf(base.shape);
  ASSIGN_OR_RETURN(const std::vector<Site> adapted, AdaptedLinears(run.plan));
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  const std::uint64_t number_bytes = dtype == BaseDtype::kBfloat16 ? 2 : 4;

  std::int64_t kept = 0;
  // Of the last layer a classifier needs one token's output.
  const auto layers = static_cast<int>(base.shape.num_hidden_layers) - (language ? 0 : 1);
  for (int layer = 0; layer < layers; ++layer) kept += KeptInLayer(layer, sites, adapted, base.shape);
  const auto tokens = run.train.batch_size * (run.problem.max_length + LeadOf(run.plan.method).prompt);

  MemoryForecast forecast;
  forecast.program = kProgram;
  forecast.weights = number_bytes * static_cast<std::uint64_t>(base.parameters);
  // Weights of another format in the folder are read first; of the same one, the file itself is in memory.
  if (forecast.weights != base.stored_bytes) forecast.weights += base.stored_bytes;
  if (dtype == BaseDtype::kInt8) {  // beside the floats
    for (const Site& site : sites.linears) forecast.weights += static_cast<std::uint64_t>(site.in * site.out);
  }
  ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  forecast.trained = CopiesOfTrained(run, views) * sizeof(float) * static_cast<std::uint64_t>(layout->size());
  forecast.activations = static_cast<std::uint64_t>(kHeldForEachKept * static_cast<double>(kept * tokens) *
                                                    static_cast<double>(number_bytes));
  if (run.train.base_dtype == TrainSpec::BaseDtype::kBfloat16) {  // attention is in float32, a layer at a time
    const AttentionSite& attention = sites.attentions.front();
    forecast.activations +=
        kAttentionCopies * sizeof(float) * static_cast<std::uint64_t>(tokens * attention.heads * attention.width);
  }
  if (std::holds_alternative<SparseConfig>(run.plan.method)) {  // keeps a changed copy of each weight
    for (const Site& site : adapted) {
      forecast.activations += number_bytes * static_cast<std::uint64_t>(site.in * site.out);
    }
  }
  if (language) {
    const auto scores = sizeof(float) * static_cast<std::uint64_t>(tokens * base.shape.vocab_size);
    forecast.activations += kCopiesOfScores * std::min(kScoresAtOnce, scores);
  }
  return forecast;
}

}  // namespace fedpeft::client
