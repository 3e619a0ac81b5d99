// FEDPEFT_CHECK: a failed check of our own logic ends the process with file and line. Nothing the outside sends may
// reach one; that is what Status is for.
#pragma once

namespace fedpeft::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);
}  // namespace fedpeft::internal

#define FEDPEFT_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::fedpeft::internal::CheckFailed(__FILE__, __LINE__, #condition))
