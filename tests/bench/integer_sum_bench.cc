// How fast updates are summed and a sum is finished, in bytes of update.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "aggregation/reducer.h"
#include "peft/core/check.h"

namespace fedpeft::aggregation {
namespace {

std::shared_ptr<const ParamLayout> OneTensor(std::int64_t size) {
  TensorSpec tensor;
  tensor.name = "values";
  tensor.shape = {size};
  return *ParamLayout::Make({std::move(tensor)});
}

IntegerSum Begin(const SumReducer& reducer, std::int64_t size, std::uint64_t contributions) {
  const auto layout = OneTensor(size);
  return std::move(reducer.Begin(layout, DensePayload(*layout, {true}, 16), contributions)).value();
}

void BM_Add(benchmark::State& state) {
  const SumReducer reducer(Weighting::kExamples, 1'000'000);
  IntegerSum sum = Begin(reducer, state.range(0), std::uint64_t{1} << 32);
  const std::vector<float> update(static_cast<std::size_t>(state.range(0)), 1e-3f);
  const ByteSpan bytes = AsBytes(std::span<const float>(update));
  for (auto _ : state) FEDPEFT_CHECK(sum.Add(bytes, 1000).ok());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
// LoRA of rank 8 on a small encoder, and a full encoder.
BENCHMARK(BM_Add)->Arg(150'000)->Arg(22'000'000);

void BM_Finish(benchmark::State& state) {
  const SumReducer reducer(Weighting::kUniform, 1);
  const std::vector<float> update(static_cast<std::size_t>(state.range(0)), 1e-3f);
  for (auto _ : state) {
    state.PauseTiming();
    IntegerSum sum = Begin(reducer, state.range(0), 1);
    FEDPEFT_CHECK(sum.Add(AsBytes(std::span<const float>(update)), 1).ok());
    state.ResumeTiming();
    benchmark::DoNotOptimize(reducer.Finish(std::move(sum)));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0) * static_cast<std::int64_t>(sizeof(float)));
}
BENCHMARK(BM_Finish)->Arg(150'000)->Arg(22'000'000);

}  // namespace
}  // namespace fedpeft::aggregation
