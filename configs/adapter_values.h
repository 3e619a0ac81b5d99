// The numbers of an adapter folder and of a run's layout, both ways: names in the file, ranks in use, and what is
// offset from the base. Internal to configs: others use adapter.h.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/io/adapter_folder.h"
#include "peft/params/param_vector.h"

namespace fedpeft {

/// Adds to what is offset from the base, or takes off, where a folder of that type has absolute values. `folder` is the
/// base's; empty: it is not there. Errors: kFailedPrecondition for a base that is needed and missing, or another one.
Status ShiftByBase(const std::string& folder, const RunSpec& run, PeftType type, float sign, ParamVector& params);

/// The file's values in the layout, once it is known to hold them all, and nothing else. Errors: kInvalidArgument for a
/// tensor that is missing or of another shape; kUnimplemented for one too many.
Result<ParamVector> TakeParams(const AdapterFolder& adapter, const std::shared_ptr<const ParamLayout>& layout,
                               const BaseShape& base);

/// What the file of an export holds.
struct HeldTensors {
  std::vector<TensorView> tensors;
  /// Of those that are not whole in the parameters.
  std::vector<std::vector<float>> values;
};
/// The trained tensors of `params` by the file's names, of those with ranks the ranks in use, which `config` is told.
/// The views borrow `params` and the result. Errors: those of the names.
Result<HeldTensors> HoldParams(const ParamVector& params, const BaseShape& base, AdapterConfig& config);

/// A language-model head that the `adapters` library saves beside the adapter, be it trained or not, is the base's own.
/// Errors: kUnimplemented when it is not; kFailedPrecondition without the base.
Status CheckLanguageHead(const AdapterFolder& adapter, const BaseShape& shape, const std::string& base_folder);

}  // namespace fedpeft
