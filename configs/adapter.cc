#include "configs/adapter.h"

#include <algorithm>
#include <charconv>

#include "configs/translate.h"
#include "peft/io/adapter_folder.h"

namespace fedpeft {

namespace {

constexpr std::string_view kTextColumn = "fedpeft.text_column";
constexpr std::string_view kTextPairColumn = "fedpeft.text_pair_column";
constexpr std::string_view kLabelColumn = "fedpeft.label_column";
constexpr std::string_view kPrompt = "fedpeft.prompt";
constexpr std::string_view kResponse = "fedpeft.response";
/// The task_type of peft.
constexpr const char* kCausal = "CAUSAL_LM";
constexpr std::string_view kMaxLength = "fedpeft.max_length";

/// The value, or `otherwise` when the folder was not written by fedpeft.
std::string Text(const StringMap& metadata, std::string_view key, std::string otherwise) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::move(otherwise) : found->second;
}

Digest DigestOr0(const StringMap& metadata, std::string_view key) {
  return configs::ParseDigest(Text(metadata, key, "")).value_or(Digest{});
}

/// None of a head with one row: it is a regression's, as in transformers.
Result<std::vector<std::string>> LabelsOf(const SafetensorsFile& file, const BaseShape& base) {
  const std::string weight = PeftName(HeadLayers(base, /*labels=*/1).back().path, "weight");
  const auto head = file.tensors().find(weight);
  if (head == file.tensors().end() || head->second.shape.size() != 2) {
    return InvalidArgument("has no classification head " + weight + " [labels, hidden]");
  }
  const auto rows = static_cast<std::size_t>(head->second.shape[0]);
  std::vector<std::string> labels;
  if (const auto text = file.metadata().find(adapter_metadata::kLabels); text != file.metadata().end()) {
    ASSIGN_OR_RETURN(labels, DecodeLabels(text->second));
    if (labels.size() != (rows == 1 ? 0 : rows)) {
      return InvalidArgument("names " + std::to_string(labels.size()) + " labels, but its head has " +
                             std::to_string(rows) + " rows");
    }
    return labels;
  }
  for (std::size_t i = 0; rows > 1 && i < rows; ++i) labels.push_back("LABEL_" + std::to_string(i));
  return labels;
}

Result<ProblemSpec> ProblemOf(const SafetensorsFile& file, const BaseShape& base, bool language) {
  ProblemSpec problem;
  if (language) {
    problem.type = ProblemType::kLanguageModelling;
    problem.prompt = Text(file.metadata(), kPrompt, "");
    problem.response = Text(file.metadata(), kResponse, "{text}");
  } else {
    ASSIGN_OR_RETURN(problem.labels, LabelsOf(file, base));
    problem.type = problem.labels.empty() ? ProblemType::kRegression : ProblemType::kClassification;
  }
  problem.text_column = Text(file.metadata(), kTextColumn, "text");
  problem.text_pair_column = Text(file.metadata(), kTextPairColumn, "");
  problem.label_column = Text(file.metadata(), kLabelColumn, "label");
  const std::string length = Text(file.metadata(), kMaxLength, "128");
  const char* end = length.data() + length.size();
  const auto parsed = std::from_chars(length.data(), end, problem.max_length);
  if (parsed.ec != std::errc() || parsed.ptr != end || problem.max_length < 3) {
    return InvalidArgument("metadata " + std::string(kMaxLength) + ": got \"" + length + "\", want a number from 3");
  }
  return problem;
}

Result<LoraConfig> UniformLora(const AdapterFolder& adapter) {
  LoraConfig lora;
  lora.rank = adapter.config.r;
  lora.alpha = adapter.config.lora_alpha;
  lora.dropout = adapter.config.lora_dropout;
  for (const LoraModule& module : adapter.modules) {
    if (module.embedding || module.rank != lora.rank || module.scale != lora.scaling()) {
      return Unimplemented("module " + module.path +
                           " has a rank or scale of its own, want those of all modules alike");
    }
    lora.target_modules.push_back(module.path);
  }
  return lora;
}

Status FillParams(const SafetensorsFile& file, ParamVector& params) {
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto found = file.tensors().find(specs[i].name);
    if (found == file.tensors().end()) return InvalidArgument("has no tensor \"" + specs[i].name + "\"");
    RETURN_IF_ERROR(CheckShape(found->second, specs[i].shape));
    RETURN_IF_ERROR(CopyFloats(found->second, params.tensor(i)));
  }
  if (file.tensors().size() == specs.size()) return OkStatus();
  for (const auto& entry : file.tensors()) {
    const auto is_it = [&](const TensorSpec& spec) { return spec.name == entry.first; };
    if (std::none_of(specs.begin(), specs.end(), is_it)) {
      return Unimplemented("has a tensor \"" + entry.first + "\", want LoRA and a classification head alone");
    }
  }
  return OkStatus();
}

}  // namespace

Status ExportAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder,
                     const StringMap& provenance) {
  LoraAdapterConfig config;
  config.base_model_name_or_path = run.base_name;
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  config.task_type = language ? kCausal : "SEQ_CLS";
  config.r = run.plan.lora.rank;
  config.lora_alpha = run.plan.lora.alpha;
  config.lora_dropout = run.plan.lora.dropout;
  config.target_modules = PeftTargets(run.plan);
  if (!language) config.modules_to_save = HeadModules(run.plan.base);
  ASSIGN_OR_RETURN(const std::vector<Site> sites, LoraSites(run.plan));
  config.fan_in_fan_out = std::any_of(sites.begin(), sites.end(), [](const Site& site) { return site.transposed; });
  StringMap metadata = provenance;
  ASSIGN_OR_RETURN(metadata[std::string(adapter_metadata::kLabels)], EncodeLabels(run.problem.labels));
  metadata[std::string(adapter_metadata::kBaseHash)] = Hex(run.weights);
  metadata[std::string(adapter_metadata::kTokenizerHash)] = Hex(run.tokenizer);
  metadata[std::string(kTextColumn)] = run.problem.text_column;
  metadata[std::string(kTextPairColumn)] = run.problem.text_pair_column;
  metadata[std::string(kLabelColumn)] = run.problem.label_column;
  if (language) {
    metadata[std::string(kPrompt)] = run.problem.prompt;
    metadata[std::string(kResponse)] = run.problem.response;
  }
  metadata[std::string(kMaxLength)] = std::to_string(run.problem.max_length);
  std::vector<TensorView> tensors;
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    tensors.push_back(FloatView(specs[i].name, specs[i].shape, params.tensor(i)));
  }
  return WriteAdapterFolder(folder, config, tensors, metadata);
}

Result<ImportedAdapter> ImportAdapter(const std::string& folder, const BaseShape& base) {
  ASSIGN_OR_RETURN(const AdapterFolder adapter, ReadAdapterFolder(folder));
  RunSpec run;
  run.base_name = adapter.config.base_model_name_or_path;
  run.weights = DigestOr0(adapter.file.metadata(), adapter_metadata::kBaseHash);
  run.tokenizer = DigestOr0(adapter.file.metadata(), adapter_metadata::kTokenizerHash);
  Result<ProblemSpec> problem = ProblemOf(adapter.file, base, adapter.config.task_type == kCausal);
  if (!problem.ok()) return problem.status().Annotate(folder);
  run.problem = std::move(*problem);
  run.plan.base = base;
  run.plan.labels = static_cast<std::int64_t>(run.problem.labels.size());
  if (run.problem.type == ProblemType::kRegression) run.plan.labels = 1;
  Result<LoraConfig> lora = UniformLora(adapter);
  if (!lora.ok()) return lora.status().Annotate(folder);
  run.plan.lora = std::move(*lora);
  run.schedule.emplace_back();
  Result<std::shared_ptr<const ParamLayout>> layout = PlanLayout(run.plan);
  if (!layout.ok()) return layout.status().Annotate(folder);
  ParamVector params(*layout);
  RETURN_IF_ERROR(FillParams(adapter.file, params).Annotate(folder));
  return ImportedAdapter{std::move(run), std::move(params)};
}

}  // namespace fedpeft
