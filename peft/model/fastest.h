// In which number format this processor is fast, and a base near enough to what it is: short measurements. Free of
// LibTorch's headers.
#pragma once

#include "peft/model/load.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// Seconds that one linear of a base takes, forwards and backwards to its input, with the threads that LibTorch has
/// now. A format that the processor has no instructions for, or cannot compute exactly in, has infinity.
struct DtypeTimes {
  double float32 = 0;
  double bfloat16 = 0;
  double int8 = 0;

  /// A narrow format only where it is a quarter faster than float32, which is more exact.
  BaseDtype Fastest() const;
};

/// Of the widest linear of a base's layers, up to 2,048 numbers. Cost: what 15 steps of such a linear with 256 rows
/// take.
DtypeTimes MeasureDtypes(const BaseShape& shape);

/// How far a base's hidden states in int8 are from those in float32, relative to their size, on texts of random tokens.
/// Where activations have a few channels that are far larger than the others, rows of bytes lose the others.
double Int8Error(const BaseModel& exact, const BaseModel& int8);

}  // namespace fedpeft
