// A base in the number format that this processor is fast in, by a short measurement. Free of LibTorch's headers.
#pragma once

#include <memory>
#include <string>

#include "peft/core/status.h"
#include "peft/model/load.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// Seconds that one linear of a base takes, forwards and backwards to its input, with the threads that LibTorch has
/// now. A format that the processor has no instructions for, or cannot compute exactly in, has infinity.
struct DtypeTimes {
  double float32 = 0;
  double bfloat16 = 0;
  double int8 = 0;
  /// Int8Error of the base, where int8 might be chosen.
  double int8_error = 0;

  /// A narrow format only where it is a quarter faster than float32, which is more exact; int8 only where its error is
  /// small.
  BaseDtype Fastest() const;
};

/// Of the widest linear of a base's layers, up to 2,048 numbers. Cost: what 27 passes of 256 rows through it take, both
/// ways.
DtypeTimes MeasureDtypes(const BaseShape& shape);

/// How far a base's hidden states in int8 are from those in float32, relative to their size, on texts of random tokens.
/// Where activations have a few channels that are far larger than the others, rows of bytes lose the others.
double Int8Error(const BaseModel& exact, const BaseModel& int8);

struct FastestBase {
  std::shared_ptr<const BaseModel> model;
  BaseDtype dtype = BaseDtype::kFloat32;
  DtypeTimes times;
};

/// The base of `folder` in the format that is fastest here. Errors: LoadBaseModel's.
Result<FastestBase> LoadFastestBase(const std::string& folder);

}  // namespace fedpeft
