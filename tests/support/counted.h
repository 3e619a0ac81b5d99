// What a classification's evaluation sends, without its classes.
#pragma once

#include <cstdint>

#include "peft/core/check.h"
#include "peft/metrics/totals.h"

namespace fedpeft::testing {

/// Pre: the loss fits.
inline Totals Counted(std::int64_t examples, std::int64_t correct, double loss) {
  Totals totals;
  FEDPEFT_CHECK(totals.Add(sum::kExamples, examples).ok() && totals.Add(sum::kCorrect, correct).ok() &&
                totals.AddReal(sum::kLoss, loss).ok());
  return totals;
}

}  // namespace fedpeft::testing
