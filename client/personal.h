// A client's own parts of a model, which its run never shares: a safetensors file of the state folder with the tensors
// by their layout names.
#pragma once

#include <string>
#include <vector>

#include "peft/core/status.h"
#include "peft/params/param_vector.h"

namespace fedpeft::client {

/// `personal-CLIENT.safetensors`.
std::string PersonalPath(const std::string& state, const std::string& client);

/// Writes the tensors of `params` that `personal` names. Errors: the file's.
Status WritePersonal(const std::string& path, const ParamVector& params, const std::vector<bool>& personal);

/// Puts the file's tensors in place of those of `params`. Errors: the file's; kInvalidArgument for one that the layout
/// does not have, or of another shape.
Status ReadPersonal(const std::string& path, ParamVector& params);

}  // namespace fedpeft::client
