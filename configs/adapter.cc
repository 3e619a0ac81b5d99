#include "configs/adapter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "configs/adapters_library.h"
#include "configs/translate.h"
#include "configs/views.h"
#include "peft/io/adapter_folder.h"
#include "peft/plan/base_values.h"
#include "peft/plan/prompt_start.h"
#include "peft/plan/token_encoder.h"

namespace fedpeft {

namespace {

constexpr std::string_view kTextColumn = "fedpeft.text_column";
constexpr std::string_view kTextPairColumn = "fedpeft.text_pair_column";
constexpr std::string_view kLabelColumn = "fedpeft.label_column";
constexpr std::string_view kPrompt = "fedpeft.prompt";
constexpr std::string_view kResponse = "fedpeft.response";
/// task_type as peft has it.
constexpr const char* kCausal = "CAUSAL_LM";
constexpr const char* kClassifies = "SEQ_CLS";
constexpr std::string_view kLanguageHead = "lm_head.weight";
constexpr std::string_view kMaxLength = "fedpeft.max_length";
constexpr std::int64_t kMostLabels = 65536;
/// In the order of BottleneckConfig::Kind.
constexpr std::array<std::string_view, 3> kKinds = {"houlsby", "pfeiffer", "parallel"};

/// The value, or `otherwise` when the folder was not written by fedpeft.
std::string Text(const StringMap& metadata, std::string_view key, std::string otherwise) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::move(otherwise) : found->second;
}

Digest DigestOr0(const StringMap& metadata, std::string_view key) {
  return DigestFromHex(Text(metadata, key, "")).value_or(Digest{});
}

/// What the folder's file puts before the path of a head's parameter.
std::string HeadPrefix(const AdapterConfig& config) {
  if (!config.adapter_name.empty()) return "";
  return config.is_prompt_learning() ? "base_model." : "base_model.model.";
}

/// None of a head with one row: it is a regression's, as in transformers.
Result<std::vector<std::string>> LabelsOf(const AdapterFolder& adapter, const BaseShape& base) {
  const SafetensorsFile& file = adapter.file;
  const std::string path = HeadLayers(base, /*labels=*/1).back().path + ".weight";
  const std::string weight = HeadPrefix(adapter.config) + path;
  const auto head = file.tensors().find(weight);
  if (head == file.tensors().end() || head->second.shape.size() != 2) {
    return InvalidArgument("has no classification head " + weight + " [labels, hidden]");
  }
  // What the file claims is checked before labels are made of it.
  const std::int64_t width = HeadLayers(base, /*labels=*/1).back().in;
  if (head->second.shape[0] < 1 || head->second.shape[0] > kMostLabels || head->second.shape[1] != width) {
    return InvalidArgument("tensor \"" + weight + "\" has shape " + ShapeText(head->second.shape) + ", want [1 to " +
                           std::to_string(kMostLabels) + "," + std::to_string(width) + "]");
  }
  const auto rows = static_cast<std::size_t>(head->second.shape[0]);
  std::vector<std::string> labels = adapter.config.labels;
  const auto text = file.metadata().find(adapter_metadata::kLabels);
  if (text != file.metadata().end()) {
    ASSIGN_OR_RETURN(labels, DecodeLabels(text->second));
  }
  if (text != file.metadata().end() || !labels.empty()) {
    if (labels.size() == (rows == 1 ? 0 : rows)) return labels;
    return InvalidArgument("names " + std::to_string(labels.size()) + " labels, but its head has " +
                           std::to_string(rows) + " rows");
  }
  for (std::size_t i = 0; rows > 1 && i < rows; ++i) labels.push_back("LABEL_" + std::to_string(i));
  return labels;
}

/// Whether the adapter is a language model's: it says so, or says nothing and has no head.
Result<bool> IsLanguageModels(const AdapterConfig& config, const BaseShape& base) {
  if (config.task_type.empty()) return PredictsNextToken(base) && config.modules_to_save.empty();
  if (config.task_type == kCausal) return true;
  if (config.task_type == kClassifies) return false;
  return Unimplemented("task_type: got " + config.task_type + ", want SEQ_CLS or CAUSAL_LM");
}

Result<ProblemSpec> ProblemOf(const AdapterFolder& adapter, const BaseShape& base) {
  const SafetensorsFile& file = adapter.file;
  ProblemSpec problem;
  ASSIGN_OR_RETURN(const bool language, IsLanguageModels(adapter.config, base));
  if (language) {
    problem.type = ProblemType::kLanguageModelling;
    problem.prompt = Text(file.metadata(), kPrompt, "");
    problem.response = Text(file.metadata(), kResponse, "{text}");
  } else {
    ASSIGN_OR_RETURN(problem.labels, LabelsOf(adapter, base));
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

/// All modules by their paths; those that differ from the configuration's rank and alpha have a pattern.
Result<MethodConfig> LoraOf(const AdapterFolder& adapter) {
  LoraConfig lora;
  lora.rank = adapter.config.r;
  lora.alpha = adapter.config.lora_alpha;
  lora.dropout = adapter.config.lora_dropout;
  lora.use_rslora = adapter.config.use_rslora;
  lora.use_dora = adapter.config.use_dora;
  for (const LoraModule& module : adapter.modules) {
    if (module.embedding) {
      return Unimplemented("module " + module.path + ": is an adapted embedding, want a linear");
    }
    if (module.alpha <= 0) {
      return InvalidArgument("module " + module.path + ": alpha is " + std::to_string(module.alpha) +
                             ", want a positive number");
    }
    lora.target_modules.push_back(module.path);
    if (module.rank != lora.rank || module.alpha != lora.alpha) {
      lora.patterns.push_back({module.path, module.rank, module.alpha});
    }
  }
  return MethodConfig(lora);
}

MethodConfig AdaLoraOf(const AdapterFolder& adapter) {
  AdaLoraConfig adalora;
  adalora.lora.rank = adapter.config.r;
  adalora.lora.alpha = adapter.config.lora_alpha;
  adalora.lora.dropout = adapter.config.lora_dropout;
  for (const LoraModule& module : adapter.modules) adalora.lora.target_modules.push_back(module.path);
  adalora.target_rank = std::clamp<std::int64_t>(adapter.config.target_r, 1, adapter.config.r);
  adalora.beta1 = adapter.config.beta1;
  adalora.beta2 = adapter.config.beta2;
  adalora.orthogonality = adapter.config.orth_reg_weight;
  return adalora;
}

Result<MethodConfig> BottleneckOf(const AdapterConfig& config) {
  BottleneckConfig adapter;
  adapter.size = config.size;
  adapter.scale = config.scale;
  adapter.phm_dim = config.phm_dim;
  adapter.phm_rank = config.phm_rank;
  const auto kind = std::find(kKinds.begin(), kKinds.end(), config.kind);
  if (kind == kKinds.end()) return InvalidArgument("kind: got \"" + config.kind + "\", want one of our kinds");
  adapter.kind = static_cast<BottleneckConfig::Kind>(kind - kKinds.begin());
  ASSIGN_OR_RETURN(adapter.activation, ActivationOf(config.activation));
  return MethodConfig(adapter);
}

/// Whether peft's LLaMA-Adapter gives the same. Its output linear is outside of attention: of GPT-2 it is left out, and
/// a bias in it is added twice; its heads have the width that makes the base's; other families it does not know.
bool GatesAsPeft(const BaseShape& base) {
  const bool known = base.model_type == "llama" || base.model_type == "mistral";
  return known && !base.attention_bias && base.num_attention_heads * base.head_width() == base.hidden_size;
}

Result<MethodConfig> LlamaAdapterOf(const AdapterConfig& config, const BaseShape& base) {
  if (config.peft_type == PeftType::kAdaptionPrompt && !GatesAsPeft(base)) {
    return Unimplemented(
        "peft_type: got ADAPTION_PROMPT of this " + base.model_type +
        " base, of which peft computes something else (want llama without attention_bias, or mistral)");
  }
  return MethodConfig(LlamaAdapterConfig{config.adapter_len, config.adapter_layers});
}

/// peft may train some norms; ours are all of them.
Result<MethodConfig> MethodOf(const AdapterFolder& adapter, const BaseShape& base) {
  const AdapterConfig& config = adapter.config;
  switch (config.peft_type) {
    case PeftType::kLora:
      return LoraOf(adapter);
    case PeftType::kAdaLora:
      return AdaLoraOf(adapter);
    case PeftType::kIa3:
      return MethodConfig(Ia3Config{config.target_modules, config.feedforward_modules});
    case PeftType::kPrefixTuning:
      return MethodConfig(PrefixConfig{config.num_virtual_tokens});
    case PeftType::kPromptTuning:
      return MethodConfig(PromptConfig{config.num_virtual_tokens});
    case PeftType::kLnTuning:
      return MethodConfig(OffsetConfig{OffsetConfig::What::kNorms});
    case PeftType::kAdaptionPrompt:
    case PeftType::kLlamaAdapter:
      return LlamaAdapterOf(config, base);
    case PeftType::kBottleneck:
      return BottleneckOf(config);
    case PeftType::kBitFit:
      return MethodConfig(OffsetConfig{OffsetConfig::What::kBiases});
    case PeftType::kFull:
      return MethodConfig(OffsetConfig{OffsetConfig::What::kAll});
    case PeftType::kSparse:
      return MethodConfig(SparseConfig{config.density, config.target_modules, config.seed});
  }
  return Internal("peft_type: is not known");
}

/// What the folder's file calls a tensor of the layout. Errors: LibraryName's.
Result<std::string> NameInFile(const TensorSpec& spec, const AdapterConfig& config, const BaseShape& base) {
  if (!config.adapter_name.empty()) return LibraryName(spec, base, config.adapter_name);
  if (config.peft_type != PeftType::kLnTuning || spec.role != Role::kOffset) return spec.name;
  const std::size_t dot = spec.name.rfind('.');
  return spec.name.substr(0, dot) + ".ln_tuning_layers" + spec.name.substr(dot);
}

/// Whether the file holds absolute values where the layout has offsets: peft's own methods do.
bool IsAbsolute(PeftType type) {
  return type != PeftType::kBitFit && type != PeftType::kFull;
}

/// Adds to what is offset from the base, or takes off. `folder` empty: the base is not there.
Status ShiftByBase(const std::string& folder, const RunSpec& run, PeftType type, float sign, ParamVector& params) {
  const auto& specs = params.layout()->tensors();
  if (!IsAbsolute(type) || std::none_of(specs.begin(), specs.end(), IsOffset)) return OkStatus();
  if (folder.empty()) {
    return FailedPrecondition(
        "the method's parameters are kept as offsets from the base's, want the base too (--base)");
  }
  ASSIGN_OR_RETURN(const ModelFolder base, ModelFolder::Open(folder));
  if (base.BaseHash() != run.weights && run.weights != Digest{}) {
    return FailedPrecondition(folder + ": weights and configuration hash to " + Hex(base.BaseHash()) +
                              ", want the run's " + Hex(run.weights) + " (use the base that the run names)");
  }
  PeftPlan plan = run.plan;
  RETURN_IF_ERROR(ResolvePrompt(base, run.tokenizer, plan));
  return AddBaseValues(base, plan, sign, params);
}

/// The `adapters` library saves a language model's head beside the adapter, be it trained or not.
bool IsLibraryLanguageHead(const AdapterFolder& adapter, std::string_view tensor) {
  return !adapter.config.adapter_name.empty() && adapter.config.task_type == kCausal && tensor == kLanguageHead;
}

/// That such a head is the base's own.
Status CheckLanguageHead(const AdapterFolder& adapter, const BaseShape& shape, const std::string& base_folder) {
  const auto found = adapter.file.tensors().find(kLanguageHead);
  if (found == adapter.file.tensors().end() || !IsLibraryLanguageHead(adapter, kLanguageHead)) return OkStatus();
  if (base_folder.empty()) {
    return FailedPrecondition("holds a language-model head, want the base too (--base) to compare it with");
  }
  const BaseSites sites = SitesOf(shape);
  const TableSite& head = sites.language_head ? *sites.language_head : sites.tables.front();
  RETURN_IF_ERROR(CheckShape(found->second, {head.rows, head.width}));
  ASSIGN_OR_RETURN(const ModelFolder base, ModelFolder::Open(base_folder));
  ASSIGN_OR_RETURN(const TensorView view, base.Find(head.path + ".weight", {head.rows, head.width}));
  std::vector<float> ours(static_cast<std::size_t>(head.rows * head.width)), theirs(ours.size());
  RETURN_IF_ERROR(CopyFloats(view, ours));
  RETURN_IF_ERROR(CopyFloats(found->second, theirs));
  if (ours == theirs) return OkStatus();
  return Unimplemented("its " + std::string(kLanguageHead) + " is not the base's: a trained language-model head is " +
                       "not supported beside an adapter");
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

/// The masks that the folder says, in the layout's mask tensors.
void TakeMasks(const AdapterConfig& config, ParamVector& params) {
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role != Role::kRankMask) continue;
    const auto mask = config.rank_masks.find(specs[i].site);
    for (std::size_t k = 0; k < params.tensor(i).size(); ++k) {
      params.tensor(i)[k] = mask == config.rank_masks.end() || mask->second[k] ? 1.0f : 0.0f;
    }
  }
}

/// What a file holds of one tensor: of one with ranks those in use.
PayloadLayout InFile(const ParamLayout& layout, std::size_t tensor, const KeptRanks& kept) {
  std::vector<bool> travels(layout.tensors().size(), false);
  travels[tensor] = true;
  return DensePayload(layout, travels, /*max_abs=*/0, kept);
}

/// The file's values in the layout, once it is known to hold them all, and nothing else.
Result<ParamVector> TakeParams(const AdapterFolder& adapter, const std::shared_ptr<const ParamLayout>& layout,
                               const BaseShape& base) {
  const SafetensorsFile& file = adapter.file;
  const auto& specs = layout->tensors();
  ParamVector params(layout);
  TakeMasks(adapter.config, params);
  const KeptRanks kept = KeptRanksOf(params);
  std::map<std::string, std::size_t> names;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!IsTrained(specs[i].role)) continue;
    ASSIGN_OR_RETURN(const std::string name, NameInFile(specs[i], adapter.config, base));
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end()) return InvalidArgument("has no tensor \"" + name + "\"");
    names.emplace(name, i);
    RETURN_IF_ERROR(CheckShape(found->second, KeptShape(specs[i], kept[i])));
  }
  for (const auto& entry : file.tensors()) {
    if (!names.contains(entry.first) && !IsLibraryLanguageHead(adapter, entry.first)) {
      return Unimplemented("has a tensor \"" + entry.first + "\", want the method's and a classification head's alone");
    }
  }
  for (const auto& [name, i] : names) {
    const PayloadLayout held = InFile(*layout, i, kept);
    std::vector<float> values(held.size);
    RETURN_IF_ERROR(CopyFloats(file.tensors().find(name)->second, values));
    Put(*layout, held, values, params.values());
  }
  return params;
}

/// adapter_config.json of each method, beyond what all have.
void Describe(const RunSpec& run, const LoraConfig& lora, AdapterConfig& config) {
  config.r = lora.rank;
  config.lora_alpha = lora.alpha;
  config.lora_dropout = lora.dropout;
  config.use_rslora = lora.use_rslora;
  config.use_dora = lora.use_dora;
  config.target_modules =
      PeftTargets(run.plan, lora.target_modules.empty() ? DefaultTargets(run.plan.base) : lora.target_modules);
  const std::vector<LoraSite> sites = LoraSites(run.plan.base, lora).value();
  for (const LoraSite& one : sites) {
    config.fan_in_fan_out = config.fan_in_fan_out || one.site.transposed;
    if (one.rank != lora.rank) config.rank_pattern[one.site.path] = one.rank;
    if (one.alpha != lora.alpha) config.alpha_pattern[one.site.path] = one.alpha;
  }
}

void Describe(const RunSpec& run, const AdaLoraConfig& adalora, AdapterConfig& config) {
  config.peft_type = PeftType::kAdaLora;
  const LoraConfig& lora = adalora.lora;
  config.r = lora.rank;
  config.lora_alpha = lora.alpha;
  config.lora_dropout = lora.dropout;
  config.target_r = adalora.target_rank;
  config.beta1 = adalora.beta1;
  config.beta2 = adalora.beta2;
  config.orth_reg_weight = adalora.orthogonality;
  config.target_modules =
      PeftTargets(run.plan, lora.target_modules.empty() ? DefaultTargets(run.plan.base) : lora.target_modules);
  const std::vector<LoraSite> sites = AdaLoraSites(run.plan.base, adalora).value();
  for (const LoraSite& one : sites) config.fan_in_fan_out = config.fan_in_fan_out || one.site.transposed;
}

void Describe(const RunSpec& run, const Ia3Config& ia3, AdapterConfig& config) {
  config.peft_type = PeftType::kIa3;
  const std::vector<std::string> words =
      ia3.target_modules.empty() ? DefaultIa3Targets(run.plan.base) : ia3.target_modules;
  config.target_modules = PeftTargets(run.plan, words);
  const bool paths = config.target_modules != words;
  if (!paths) {
    config.feedforward_modules =
        ia3.target_modules.empty() ? DefaultIa3FeedForward(run.plan.base) : ia3.feedforward_modules;
  }
  const std::vector<Ia3Site> sites = Ia3Sites(run.plan.base, ia3).value();
  for (const Ia3Site& one : sites) {
    config.fan_in_fan_out = config.fan_in_fan_out || one.site.transposed;
    if (paths && one.scales_input) config.feedforward_modules.push_back(one.site.path);
  }
}

void Describe(const RunSpec&, const BottleneckConfig& adapter, AdapterConfig& config) {
  config.peft_type = PeftType::kBottleneck;
  config.kind = kKinds[static_cast<std::size_t>(adapter.kind)];
  config.size = adapter.size;
  config.activation = ActivationName(adapter.activation);
  config.scale = adapter.scale;
  config.phm_dim = adapter.phm_dim;
  config.phm_rank = adapter.phm_rank;
}

void Describe(const RunSpec& run, const PrefixConfig& prefix, AdapterConfig& config) {
  config.peft_type = PeftType::kPrefixTuning;
  config.num_virtual_tokens = prefix.length;
  config.num_layers = run.plan.base.num_hidden_layers;
  config.num_attention_heads = run.plan.base.kv_heads();
  config.token_dim = run.plan.base.kv_heads() * run.plan.base.head_width();
}

void Describe(const RunSpec& run, const PromptConfig& prompt, AdapterConfig& config) {
  config.peft_type = PeftType::kPromptTuning;
  config.num_virtual_tokens = prompt.length;
  config.num_layers = run.plan.base.num_hidden_layers;
  config.num_attention_heads = run.plan.base.num_attention_heads;
  config.token_dim = run.plan.base.hidden_size;
}

void Describe(const RunSpec& run, const LlamaAdapterConfig& adapter, AdapterConfig& config) {
  const BaseShape& base = run.plan.base;
  config.peft_type = GatesAsPeft(base) ? PeftType::kAdaptionPrompt : PeftType::kLlamaAdapter;
  config.adapter_len = adapter.length;
  config.adapter_layers = base.num_hidden_layers - FirstAdaptedLayer(base, adapter).value();
  const BaseSites sites = SitesOf(base);
  const std::string& path = sites.attentions.front().path;
  config.target_modules = {path.substr(path.rfind('.') + 1)};
}

void Describe(const RunSpec& run, const OffsetConfig& offset, AdapterConfig& config) {
  constexpr PeftType kTypes[] = {PeftType::kBitFit, PeftType::kLnTuning, PeftType::kFull};
  config.peft_type = kTypes[static_cast<int>(offset.what)];
  if (config.peft_type != PeftType::kLnTuning) return;
  const BaseSites sites = SitesOf(run.plan.base);
  for (const NormSite& norm : sites.norms) config.target_modules.push_back(norm.path);
}

void Describe(const RunSpec& run, const SparseConfig& sparse, AdapterConfig& config) {
  config.peft_type = PeftType::kSparse;
  config.density = sparse.density;
  config.seed = sparse.seed;
  config.target_modules = PeftTargets(run.plan, sparse.target_modules);
}

/// Of every module which ranks the file has, where that is not all.
void SetMasks(const ParamVector& params, const KeptRanks& kept, AdapterConfig& config) {
  if (std::none_of(kept.begin(), kept.end(), [](const auto& ranks) { return ranks.has_value(); })) return;
  const auto& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role != Role::kRankMask) continue;
    for (const float in_use : params.tensor(i)) config.rank_masks[specs[i].site].push_back(in_use != 0);
  }
}

}  // namespace

AdapterConfig DescribeAdapter(const RunSpec& run) {
  AdapterConfig config;
  config.base_model_name_or_path = run.base_name;
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  config.task_type = language ? kCausal : kClassifies;
  if (!language) config.modules_to_save = HeadModules(run.plan.base);
  std::visit([&](const auto& method) { Describe(run, method, config); }, run.plan.method);
  return config;
}

Result<StringMap> AdapterMetadata(const RunSpec& run) {
  StringMap metadata;
  ASSIGN_OR_RETURN(metadata[std::string(adapter_metadata::kLabels)], EncodeLabels(run.problem.labels));
  metadata[std::string(adapter_metadata::kBaseHash)] = Hex(run.weights);
  metadata[std::string(adapter_metadata::kTokenizerHash)] = Hex(run.tokenizer);
  metadata[std::string(kTextColumn)] = run.problem.text_column;
  metadata[std::string(kTextPairColumn)] = run.problem.text_pair_column;
  metadata[std::string(kLabelColumn)] = run.problem.label_column;
  if (run.problem.type == ProblemType::kLanguageModelling) {
    metadata[std::string(kPrompt)] = run.problem.prompt;
    metadata[std::string(kResponse)] = run.problem.response;
  }
  metadata[std::string(kMaxLength)] = std::to_string(run.problem.max_length);
  return metadata;
}

Status ExportAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder, const std::string& base,
                     const StringMap& provenance) {
  AdapterConfig config = DescribeAdapter(run);
  ASSIGN_OR_RETURN(StringMap metadata, AdapterMetadata(run));
  metadata.insert(provenance.begin(), provenance.end());
  ParamVector values = EncodeTokens(run.plan, params);
  RETURN_IF_ERROR(ShiftByBase(base, run, config.peft_type, 1, values));
  const ParamLayout& layout = *values.layout();
  const auto& specs = layout.tensors();
  const KeptRanks kept = KeptRanksOf(values);
  SetMasks(values, kept, config);
  std::vector<std::vector<float>> held(specs.size());
  std::vector<std::string> names;
  for (const TensorSpec& spec : specs) {
    ASSIGN_OR_RETURN(names.emplace_back(), NameInFile(spec, config, run.plan.base));
  }
  std::vector<TensorView> tensors;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!IsTrained(specs[i].role)) continue;
    if (kept[i]) held[i] = Pick(layout, InFile(layout, i, kept), values.values());
    const std::span<const float> view = kept[i] ? std::span<const float>(held[i]) : values.tensor(i);
    tensors.push_back(FloatView(names[i], KeptShape(specs[i], kept[i]), view));
  }
  return WriteAdapterFolder(folder, config, tensors, metadata);
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
  return ImportedAdapter{std::move(run), std::move(*params), Text(adapter.file.metadata(), adapter_metadata::kRun, ""),
                         named};
}

namespace {

/// Whether two methods of one layout compute the same from the same values.
bool ComputeAlike(const PeftPlan& a, const PeftPlan& b) {
  if (a.method.index() != b.method.index()) return false;
  if (const auto* lora = std::get_if<LoraConfig>(&a.method)) {
    const LoraConfig& other = std::get<LoraConfig>(b.method);
    const auto scales = [](const BaseShape& base, const LoraConfig& config) {
      std::vector<double> values;
      const std::vector<LoraSite> sites = LoraSites(base, config).value();
      for (const LoraSite& site : sites) values.push_back(site.scale);
      return values;
    };
    return scales(a.base, *lora) == scales(b.base, other);
  }
  if (const auto* adalora = std::get_if<AdaLoraConfig>(&a.method)) {
    return adalora->lora.alpha == std::get<AdaLoraConfig>(b.method).lora.alpha;
  }
  if (const auto* adapter = std::get_if<BottleneckConfig>(&a.method)) {
    const BottleneckConfig& other = std::get<BottleneckConfig>(b.method);
    return adapter->kind == other.kind && adapter->activation == other.activation && adapter->scale == other.scale;
  }
  if (const auto* sparse = std::get_if<SparseConfig>(&a.method)) {
    return sparse->seed == std::get<SparseConfig>(b.method).seed;
  }
  return true;
}

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
