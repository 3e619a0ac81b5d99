#include "configs/adapter.h"

#include <algorithm>

#include "configs/adapter_method.h"
#include "configs/adapter_problem.h"
#include "configs/adapter_values.h"
#include "configs/views.h"
#include "peft/plan/token_encoder.h"

namespace fedpeft {

namespace {

Digest DigestOr0(const StringMap& metadata, std::string_view key) {
  return DigestFromHex(MetadataText(metadata, key, "")).value_or(Digest{});
}

/// Of an adapter's weights: what the whole base takes as float32, and 2 GiB.
std::uint64_t MostBytes(const BaseShape& base) {
  const BaseSites sites = SitesOf(base);
  std::int64_t values = 0;
  for (const TableSite& table : sites.tables) values += table.rows * table.width;
  for (const Site& site : sites.linears) values += site.in * site.out;
  if (sites.language_head) values += sites.language_head->rows * sites.language_head->width;
  return sizeof(float) * static_cast<std::uint64_t>(values) + (std::uint64_t{2} << 30);
}

}  // namespace

AdapterConfig DescribeAdapter(const RunSpec& run) {
  AdapterConfig config;
  config.base_model_name_or_path = run.base_name;
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  config.task_type = language ? kCausal : kClassifies;
  if (!language) config.modules_to_save = HeadModules(run.plan.base);
  WriteMethod(run.plan, config);
  return config;
}

Status ExportAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder, const std::string& base,
                     const StringMap& provenance) {
  AdapterConfig config = DescribeAdapter(run);
  ASSIGN_OR_RETURN(StringMap metadata, AdapterMetadata(run));
  metadata.insert(provenance.begin(), provenance.end());
  ParamVector values = EncodeTokens(run.plan, params);
  RETURN_IF_ERROR(ShiftByBase(base, run, config.peft_type, 1, values));
  ASSIGN_OR_RETURN(const HeldTensors held, HoldParams(values, run.plan.base, config));
  return WriteAdapterFolder(folder, config, held.tensors, metadata);
}

Result<ImportedAdapter> ImportAdapter(const std::string& folder, const BaseShape& base,
                                      const std::string& base_folder) {
  ASSIGN_OR_RETURN(const AdapterFolder adapter, ReadAdapterFolder(folder, MostBytes(base)));
  if (!adapter.config.model_type.empty() && adapter.config.model_type != base.model_type) {
    return FailedPrecondition(folder + ": is an adapter of " + adapter.config.model_type + ", want one of the base's " +
                              base.model_type);
  }
  RETURN_IF_ERROR(CheckLanguageHead(adapter, base, base_folder).Annotate(folder));
  RunSpec run;
  run.base_name = adapter.config.base_model_name_or_path;
  run.weights = DigestOr0(adapter.file.metadata(), adapter_metadata::kBaseHash);
  run.tokenizer = DigestOr0(adapter.file.metadata(), adapter_metadata::kTokenizerHash);
  Result<ProblemSpec> problem = ProblemOf(adapter, base);
  if (!problem.ok()) return problem.status().Annotate(folder);
  run.problem = std::move(*problem);
  run.plan.base = base;
  run.plan.labels = static_cast<std::int64_t>(run.problem.labels.size());
  if (run.problem.type == ProblemType::kRegression) run.plan.labels = 1;
  Result<MethodConfig> method = MethodOf(adapter, base);
  if (!method.ok()) return method.status().Annotate(folder);
  run.plan.method = std::move(*method);
  run.schedule.emplace_back();
  Result<std::shared_ptr<const ParamLayout>> layout = PlanLayout(run.plan);
  if (!layout.ok()) return layout.status().Annotate(folder);
  const std::int64_t longest = base.longest() - LeadOf(run.plan.method).positions();
  if (longest < 3) {
    return InvalidArgument(folder + ": leaves " + std::to_string(longest) + " positions of the base to a text, want 3");
  }
  run.problem.max_length = static_cast<int>(std::min<std::int64_t>(run.problem.max_length, longest));
  Result<ParamVector> params = TakeParams(adapter, *layout, base);
  if (!params.ok()) return params.status().Annotate(folder);
  RETURN_IF_ERROR(ShiftByBase(base_folder, run, adapter.config.peft_type, -1, *params));
  const bool named = adapter.file.metadata().contains(adapter_metadata::kLabels) || !adapter.config.labels.empty();
  return ImportedAdapter{std::move(run), std::move(*params),
                         MetadataText(adapter.file.metadata(), adapter_metadata::kRun, ""), named};
}

namespace {

/// Whether an adapter's values can be those that are trained.
Status CheckStarts(const PeftPlan& plan) {
  if (!TokenMlpOf(plan.base, plan.method)) return OkStatus();
  const char* key = std::holds_alternative<PrefixConfig>(plan.method) ? "peft.prefix.encoder" : "peft.prompt.encoder";
  return FailedPrecondition(std::string(key) +
                            ": got mlp with an adapter to start from, want none (an adapter holds what its encoder "
                            "made, and no encoder)");
}

}  // namespace

Result<ParamVector> StartFromAdapter(const std::string& folder, const RunSpec& run, const std::string& base_folder) {
  RETURN_IF_ERROR(CheckStarts(run.plan));
  ASSIGN_OR_RETURN(ImportedAdapter adapter, ImportAdapter(folder, run.plan.base, base_folder));
  const auto refuse = [&](const std::string& what) {
    return FailedPrecondition(folder + ": " + what + " (start from an adapter of this run's method and problem)");
  };
  const RunSpec& other = adapter.run;
  if (other.weights != Digest{} && other.weights != run.weights) {
    return refuse("is of a base that hashes to " + Hex(other.weights) + ", want " + Hex(run.weights));
  }
  if (other.problem.type != run.problem.type) return refuse("solves another kind of problem");
  const bool named = adapter.labels_named;
  if (named && other.problem.labels != run.problem.labels) return refuse("has other labels, or in another order");
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> held, PlanLayout(PlanOfTokens(run.plan)));
  if (held->digest() != adapter.params.layout()->digest() || !ComputeAlike(run.plan, other.plan)) {
    return refuse("is " + DescribeMethod(other.plan.method) + ", or of other targets, ranks, scales or masks, want " +
                  DescribeMethod(run.plan.method) + " as the run has it");
  }
  ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  const auto trained = std::count_if(layout->tensors().begin(), layout->tensors().end(),
                                     [](const TensorSpec& spec) { return IsTrained(spec.role); });
  if (views.Broadcast().segments.size() != static_cast<std::size_t>(trained)) {
    return FailedPrecondition(
        "peft.head and schedule.N.views: leave parts of the adapter unshared, want all shared in some round with an "
        "adapter to start from (what is never sent is made by the seed)");
  }
  if (layout->digest() == held->digest()) return std::move(adapter.params);
  // A prompt's vectors, of which the run trains what is added to the base's.
  ParamVector start(layout);
  std::ranges::copy(adapter.params.values(), start.values().begin());
  RETURN_IF_ERROR(ShiftByBase(base_folder, run, PeftType::kPromptTuning, -1, start));
  return start;
}

}  // namespace fedpeft
