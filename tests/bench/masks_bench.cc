// How fast masks are made and added, in bytes of mask, by each kernel that this processor has; and adding an upload.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "privacy/crypto/random_source.h"
#include "privacy/secagg/masks.h"
#include "privacy/secagg/ring.h"

namespace fedpeft::privacy {
namespace {

void BM_AddMasks(benchmark::State& state, MaskKernel kernel) {
  std::vector<Mask> masks;
  for (std::int64_t i = 0; i < state.range(1); ++i) {
    masks.push_back({RandomSecret<32>(RandomSource::System()), i % 2 == 0});
  }
  std::vector<std::uint32_t> elements(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    AddMasks(masks, 0, elements, kernel);
    benchmark::DoNotOptimize(elements.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1) * 4);
}

void BM_AddPackedRing(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const int bits = static_cast<int>(state.range(1));
  const Bytes packed(PackedBytes(count, bits));
  std::vector<std::uint32_t> elements(count);
  for (auto _ : state) {
    if (!AddPackedRing(packed, bits, elements).ok()) state.SkipWithError("refused");
    benchmark::DoNotOptimize(elements.data());
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * 4);
}
BENCHMARK(BM_AddPackedRing)->Args({1'000'000, 24})->Args({1'000'000, 20});

void Register(MaskKernel kernel) {
  const std::string name = "BM_AddMasks/" + std::string(NameOf(kernel));
  for (const std::int64_t masks : {1, 199}) {
    benchmark::RegisterBenchmark(name.c_str(), BM_AddMasks, kernel)
        ->Args({1'000'000, masks})
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace fedpeft::privacy

int main(int argc, char** argv) {
  using fedpeft::privacy::MaskKernel;
  fedpeft::privacy::Register(MaskKernel::kOpenssl);
  if (fedpeft::privacy::FastestMaskKernel() == MaskKernel::kVaes) fedpeft::privacy::Register(MaskKernel::kVaes);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
