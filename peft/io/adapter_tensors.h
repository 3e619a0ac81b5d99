// Which tensors an adapter's configuration calls for, and their shapes: the check that peft's loader leaves out.
#pragma once

#include <string_view>
#include <vector>

#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"

namespace fedpeft {

/// The LoRA modules among `tensors`, by path (of another method none), if these are exactly what `config` calls for:
/// each A [r, in] with its B [out, r] and r the module's rank, DoRA's lengths [out], AdaLoRA's E [r, 1]; modules
/// matching a target, and each target matched; the virtual tokens' embeddings; all else within modules_to_save, of
/// which each has a tensor; with task_type SEQ_CLS a saved head named `classifier` or `score`. What a method of ours
/// alone holds is left to its plan. Errors: kInvalidArgument naming tensor, module or key; kUnimplemented for a pattern
/// that is a regular expression.
Result<std::vector<LoraModule>> CheckTensors(const AdapterConfig& config, const TensorMap& tensors);

/// peft's rule for lists of modules: equal, or ending with `.name`.
bool MatchesModule(std::string_view path, std::string_view name);

/// Whether a parameter (`bert.classifier.dense.weight`) lies in a module that matches `module`.
bool IsWithin(std::string_view parameter, std::string_view module);

/// A tensor name of an adapter file, taken apart.
struct AdapterName {
  enum class Kind {
    kA,
    kB,
    kE,
    kMagnitude,
    kEmbeddingA,
    kEmbeddingB,
    kIa3,
    kNorm,
    kSparse,
    kGated,
    kVirtualTokens,
    kOther
  };
  Kind kind = Kind::kOther;
  /// The module's path; for kOther the parameter's (`classifier.weight`).
  std::string_view path;
};
/// Errors: kInvalidArgument when the name lacks `base_model.model.` (of virtual tokens `base_model.`). The result
/// borrows `name`.
Result<AdapterName> ParseAdapterName(std::string_view name, const AdapterConfig& config);

}  // namespace fedpeft
