// Loads a frozen base model from a Hugging Face folder. Free of LibTorch's headers: for the programs, which only pass
// the model on.
#pragma once

#include <memory>
#include <string>

#include "peft/core/status.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

class BaseModel;

/// In which type the base's weights are held and its layers computed; kInt8: float32, but the products of its linears
/// with theirs (int8_linear.h). Trained tensors are float32 always.
enum class BaseDtype { kFloat32, kBfloat16, kInt8 };
const char* NameOf(BaseDtype dtype);

/// Reads config.json and the weights of `folder`; once a process, the result is immutable and shared by all virtual
/// clients. Float32 weights of a float32 file are used where the file is mapped, without a copy.
/// Errors: kUnimplemented for an architecture or a setting that is not built in, kInvalidArgument for a missing or
/// misshaped tensor, kFailedPrecondition for kInt8 on a processor that cannot, and those of reading the files.
Result<std::shared_ptr<const BaseModel>> LoadBaseModel(const std::string& folder, BaseDtype dtype);

/// The dimensions of a loaded base.
const BaseShape& ShapeOf(const BaseModel& base);

}  // namespace fedpeft
