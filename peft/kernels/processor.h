// Which instruction sets kernels are compiled for, and which of them are used here.
#pragma once

#include <vector>

#if defined(__x86_64__)
#define FEDPEFT_AVX2 __attribute__((target("avx2,fma")))
#define FEDPEFT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#else  // compiled like the plain form, and not run
#define FEDPEFT_AVX2
#define FEDPEFT_AVX512
#endif

namespace fedpeft {

struct InstructionSets {
  bool avx512 = false;
  bool avx2 = false;
};

/// What the processor has and, as for LibTorch's kernels, the environment allows: ATEN_CPU_CAPABILITY=avx2 or default.
InstructionSets UsableSets();

/// Those of a kernel's forms that are usable, the widest first.
template <typename Kernel>
std::vector<Kernel> UsableOf(const Kernel& avx512, const Kernel& avx2, const Kernel& plain) {
  std::vector<Kernel> usable;
  if (UsableSets().avx512) usable.push_back(avx512);
  if (UsableSets().avx2) usable.push_back(avx2);
  usable.push_back(plain);
  return usable;
}

}  // namespace fedpeft
