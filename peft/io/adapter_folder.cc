#include "peft/io/adapter_folder.h"

#include <algorithm>
#include <set>
#include <utility>

#include "peft/core/files.h"
#include "peft/io/adapter_config.h"
#include "peft/io/adapter_tensors.h"
#include "peft/io/adapters_library.h"
#include "peft/io/json.h"
#include "peft/io/quote.h"

namespace fedpeft {

namespace {

constexpr std::string_view kWeightsName = "adapter_model.safetensors";

/// Makes a read configuration say what the file holds: peft's lists of modules may be patterns, and its
/// modules_to_save name heads that the model does not have.
Status FitToTensors(const TensorMap& tensors, AdapterConfig& config) {
  std::set<std::string> targets, inputs;
  std::vector<std::string_view> others;
  for (const auto& [name, tensor] : tensors) {
    ASSIGN_OR_RETURN(const AdapterName parsed, ParseAdapterName(name, config));
    if (parsed.kind == AdapterName::Kind::kOther) {
      others.push_back(parsed.path);
    } else if (parsed.kind != AdapterName::Kind::kVirtualTokens) {
      targets.emplace(parsed.path);
    }
    // [1, in] scales an input, [out, 1] an output.
    const bool scales_input = !tensor.shape.empty() && tensor.shape[0] == 1;
    if (parsed.kind == AdapterName::Kind::kIa3 && scales_input) inputs.emplace(parsed.path);
  }
  config.target_modules.assign(targets.begin(), targets.end());
  config.feedforward_modules.assign(inputs.begin(), inputs.end());
  std::erase_if(config.modules_to_save, [&](const std::string& module) {
    return std::none_of(others.begin(), others.end(), [&](std::string_view other) { return IsWithin(other, module); });
  });
  return OkStatus();
}

}  // namespace

Result<std::string> EncodeLabels(std::span<const std::string> labels) {
  return DumpJson(nlohmann::json(std::vector<std::string>(labels.begin(), labels.end())));
}

Result<std::vector<std::string>> DecodeLabels(std::string_view json) {
  // Wrapped, because documents are objects.
  ASSIGN_OR_RETURN(const nlohmann::json root, ParseJsonObject("{\"labels\":" + std::string(json) + "}"));
  const nlohmann::json& list = root.at("labels");
  const auto is_text = [](const nlohmann::json& label) { return label.is_string(); };
  if (root.size() != 1 || !list.is_array() || !std::all_of(list.begin(), list.end(), is_text)) {
    return InvalidArgument("labels: want a JSON array of strings");
  }
  return list.get<std::vector<std::string>>();
}

Status WriteAdapterFolder(const std::string& folder, const AdapterConfig& config, std::span<const TensorView> tensors,
                          const StringMap& metadata) {
  TensorMap by_name;
  for (const TensorView& tensor : tensors) by_name.emplace(tensor.name, tensor);
  if (const auto modules = CheckTensors(config, by_name); !modules.ok()) return modules.status().Annotate(folder);
  ASSIGN_OR_RETURN(const std::string json, AdapterConfigToJson(config));
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(WriteSafetensors(JoinPath(folder, kWeightsName), tensors, metadata));
  return WriteFileAtomically(JoinPath(folder, kAdapterConfigName), AsBytes(json));
}

Result<AdapterFolder> ReadAdapterFolder(const std::string& folder, std::uint64_t max_bytes) {
  const std::string config_path = JoinPath(folder, kAdapterConfigName);
  const std::string weights_path = JoinPath(folder, kWeightsName);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path, kMostConfigBytes));
  if (IsAdaptersLibrarys(text)) return ReadLibraryFolder(folder, text, max_bytes);
  Result<AdapterConfig> config = AdapterConfigFromJson(text);
  if (!config.ok()) return config.status().Annotate(config_path);
  ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Read(weights_path, max_bytes));
  const Status fits = FitToTensors(file.tensors(), *config);
  if (!fits.ok()) return fits.Annotate(weights_path);
  Result<std::vector<LoraModule>> modules = CheckTensors(*config, file.tensors());
  if (!modules.ok()) return modules.status().Annotate(weights_path);
  return AdapterFolder{std::move(config).value(), std::move(modules).value(), std::move(file)};
}

}  // namespace fedpeft
