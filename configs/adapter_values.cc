#include "configs/adapter_values.h"

#include <algorithm>
#include <map>
#include <span>
#include <string_view>

#include "configs/adapter_problem.h"
#include "configs/adapters_library.h"
#include "peft/plan/base_values.h"
#include "peft/plan/prompt_start.h"

namespace fedpeft {

namespace {

constexpr std::string_view kLanguageHead = "lm_head.weight";

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

}  // namespace

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

namespace {

/// The `adapters` library saves a language model's head beside the adapter, be it trained or not.
bool IsLibraryLanguageHead(const AdapterFolder& adapter, std::string_view tensor) {
  return !adapter.config.adapter_name.empty() && adapter.config.task_type == kCausal && tensor == kLanguageHead;
}

}  // namespace

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

namespace {

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

}  // namespace

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
    const TensorView& view = file.tensors().find(name)->second;
    if (!kept[i]) {
      RETURN_IF_ERROR(CopyFloats(view, params.tensor(i)));
      continue;
    }
    const PayloadLayout held = InFile(*layout, i, kept);
    std::vector<float> values(held.size);
    RETURN_IF_ERROR(CopyFloats(view, values));
    Put(*layout, held, values, params.values());
  }
  return params;
}

namespace {

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

Result<HeldTensors> HoldParams(const ParamVector& params, const BaseShape& base, AdapterConfig& config) {
  const ParamLayout& layout = *params.layout();
  const auto& specs = layout.tensors();
  const KeptRanks kept = KeptRanksOf(params);
  SetMasks(params, kept, config);
  HeldTensors held;
  held.values.resize(specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!IsTrained(specs[i].role)) continue;
    if (kept[i]) held.values[i] = Pick(layout, InFile(layout, i, kept), params.values());
    const std::span<const float> values = kept[i] ? std::span<const float>(held.values[i]) : params.tensor(i);
    TensorView view = FloatView("", KeptShape(specs[i], kept[i]), values);
    ASSIGN_OR_RETURN(view.name, NameInFile(specs[i], config, base));
    held.tensors.push_back(std::move(view));
  }
  return held;
}

}  // namespace fedpeft
