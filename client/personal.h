// A client's own parts of a model, which its run never shares: as they go on from training to training with the kept
// update, and as a file for people, which `personalise` reads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"

namespace fedpeft::client {

/// What a client has trained for itself, in the run's layout.
struct OwnTensors {
  /// By tensor.
  std::vector<bool> which;
  ParamVector values;
};

/// A byte for each tensor of the layout, then the values of those it names. Nothing when it names none.
Bytes EncodeOwn(const OwnTensors& own);
/// Errors: kInvalidArgument when the bytes do not fit the layout, or a value is not finite.
Result<OwnTensors> DecodeOwn(std::shared_ptr<const ParamLayout> layout, ByteSpan bytes);

/// `personal-CLIENT.safetensors` of the state folder.
std::string PersonalPath(const std::string& state, const std::string& client);

/// Writes them as the run's export holds such tensors: made by their encoder, and added to the base's vectors. `base`
/// is its folder. Errors: the file's, and those of the base where it is needed.
Status WritePersonal(const std::string& path, const std::string& run_id, const PeftPlan& plan, const std::string& base,
                     const OwnTensors& own);

/// Puts the file's tensors in place of those of `params`, which an export of that run holds. Errors: the file's;
/// kFailedPrecondition for another run than `run_id`; kInvalidArgument for a tensor that the layout does not have, or
/// of another shape.
Status ReadPersonal(const std::string& path, const std::string& run_id, ParamVector& params);

}  // namespace fedpeft::client
