// How a run's clip norm is divided among the tensors that its rounds send, or train.
#pragma once

#include <cstdint>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/params/layout.h"
#include "privacy/mechanism/clip.h"

namespace fedpeft {

/// That the groups are of the layout's parts. Errors: kInvalidArgument, for a group of none, a part that the method
/// does not have or that is named twice, and shares that leave the rest nothing.
Status CheckClipGroups(const PrivacySpec& privacy, const ParamLayout& layout);

// Pre, below: CheckClipGroups.

/// Of an update of that round.
Result<privacy::ClipGroups> UpdateClipGroups(const RunSpec& run, std::uint32_t round);
/// Of a gradient of what the view trains.
privacy::ClipGroups GradientClipGroups(const PrivacySpec& privacy, const ParamLayout& layout, const ViewSpec& view);

}  // namespace fedpeft
