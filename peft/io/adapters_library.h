// Folders of the `adapters` library (AdapterHub) with bottleneck adapters or Compacter: adapter_config.json and
// adapter.safetensors, and of a classifier head_config.json and model_head.safetensors. Only configurations that mean
// one of our kinds are read; the others are refused by the setting. Verified against adapters 1.3.0. What the library
// calls a tensor depends on the base, which is not known here (configs/adapters_library.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"

namespace fedpeft {

/// Of this library's folders and of `peft`'s.
inline constexpr std::string_view kAdapterConfigName = "adapter_config.json";

/// Whether the text is an adapter_config.json of this library, and not of `peft`.
bool IsAdaptersLibrarys(std::string_view config);

/// The model that an adapter of this library says it is of.
struct LibraryModel {
  std::string model_type;
  /// transformers' name of the task's model.
  std::string model_class;
  std::int64_t hidden_size = 0;
  /// Outputs of the head; 0: has none of its own.
  std::int64_t outputs = 0;
};

/// Writes the folder (made if need be), configurations last. `config` is a kBottleneck's with adapter_name and labels
/// (none: LABEL_0, …); tensors have the library's names. Errors: those of writing.
Status WriteLibraryFolder(const std::string& folder, const AdapterConfig& config, const LibraryModel& model,
                          std::span<const TensorView> adapter, std::span<const TensorView> head,
                          const StringMap& metadata = {});

/// Reads the folder whose adapter_config.json is `config`. The tensors, the head's among them, keep the library's
/// names. Errors: as ReadAdapterFolder's; kUnimplemented for weights that are pickles.
Result<AdapterFolder> ReadLibraryFolder(const std::string& folder, std::string_view config, std::uint64_t max_bytes);

/// `config` of an adapter_config.json, from and to text. Errors: kInvalidArgument for a value of the wrong type, naming
/// its key; kUnimplemented for one that means none of our kinds.
Result<AdapterConfig> LibraryConfigFromJson(std::string_view text);
Result<std::string> LibraryConfigToJson(const AdapterConfig& config, const LibraryModel& model);

}  // namespace fedpeft
