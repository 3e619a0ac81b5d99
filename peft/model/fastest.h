// In which number format this processor is fast: a short measurement. Free of LibTorch's headers.
#pragma once

#include "peft/model/load.h"
#include "peft/plan/base_shape.h"

namespace fedpeft {

/// Seconds that one linear of a base takes, forwards and backwards to its input, with the threads that LibTorch has
/// now. A format that the processor cannot compute exactly, or is slow in beyond doubt, has infinity.
struct DtypeTimes {
  double float32 = 0;
  double bfloat16 = 0;
  double int8 = 0;

  /// A narrow format only where it is a quarter faster than float32, which is more exact.
  BaseDtype Fastest() const;
};

/// Of the widest linear of a base's layers, in random numbers. Cost: tens of milliseconds.
DtypeTimes MeasureDtypes(const BaseShape& shape);

}  // namespace fedpeft
