// Which instruction sets kernels are compiled for, and which of them this processor can run.
#pragma once

#include <vector>

#if defined(__x86_64__)
#define FEDPEFT_X86 1
#define FEDPEFT_AVX2 __attribute__((target("avx2,fma")))
#define FEDPEFT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#else  // compiled like the plain form, and not run
#define FEDPEFT_AVX2
#define FEDPEFT_AVX512
#endif

namespace fedpeft {

/// Those of a kernel's forms that can run here, the widest first.
template <typename Kernel>
std::vector<Kernel> RunnableOf([[maybe_unused]] const Kernel& avx512, [[maybe_unused]] const Kernel& avx2,
                               const Kernel& plain) {
  std::vector<Kernel> runnable;
#if defined(FEDPEFT_X86)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq")) {
      runnable.push_back(avx512);
    }
    runnable.push_back(avx2);
  }
#endif
  runnable.push_back(plain);
  return runnable;
}

}  // namespace fedpeft
