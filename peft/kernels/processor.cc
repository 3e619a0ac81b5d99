#include "peft/kernels/processor.h"

#include <cstdlib>
#include <string_view>

namespace fedpeft {

namespace {

InstructionSets Look() {
  InstructionSets sets;
#if defined(__x86_64__)
  sets.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  sets.avx512 = sets.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
  const char* const value = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view most = value == nullptr ? "" : value;
  if (most == "default" || most == "avx2") sets.avx512 = false;
  if (most == "default") sets.avx2 = false;
  return sets;
}

}  // namespace

InstructionSets UsableSets() {
  static const InstructionSets sets = Look();
  return sets;
}

}  // namespace fedpeft
