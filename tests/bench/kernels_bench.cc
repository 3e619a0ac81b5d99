// The kernels of a training step, one thread, in every instruction set that the processor has: attention (with
// FLOP/s of its products alone), GELU and the loops around products of bytes.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "peft/kernels/attention.h"
#include "peft/kernels/gelu.h"
#include "peft/kernels/int8_rows.h"

namespace fedpeft {
namespace {

struct Shape {
  const char* name;
  AttentionSpec spec;
  std::int64_t width;
  std::int64_t sequences;
  std::int64_t length;
};

const Shape kShapes[] = {
    {"encoder_14", {.heads = 12, .kv_heads = 12, .scale = 0.18}, 32, 32, 14},
    {"encoder_64", {.heads = 12, .kv_heads = 12, .scale = 0.18}, 32, 32, 64},
    {"encoder_512", {.heads = 12, .kv_heads = 12, .scale = 0.18}, 32, 4, 512},
    {"decoder_1024", {.heads = 8, .kv_heads = 4, .causal = true, .scale = 0.125}, 64, 2, 1024},
};

/// Of a forward pass: 2; of a backward pass: 5.
double FlopsOf(const Shape& shape, int products) {
  const auto length = static_cast<double>(shape.length);
  const double seen = shape.spec.causal ? length * (length + 1) / 2 : length * length;
  return 2.0 * products * seen * static_cast<double>(shape.width * shape.spec.heads * shape.sequences);
}

void Attention(benchmark::State& state, const AttentionKernel& kernel, const Shape& shape, bool backward) {
  const std::int64_t rows = shape.sequences * shape.length;
  const std::int64_t wide = shape.spec.heads * shape.width, narrow = shape.spec.kv_heads * shape.width;
  std::vector<AttentionSequence> sequences;
  for (std::int64_t s = 0; s < shape.sequences; ++s) {
    sequences.push_back({s * shape.length, shape.length, s * shape.length, shape.length});
  }
  std::vector<std::vector<float>> memory;
  const auto make = [&](std::int64_t width) {
    memory.emplace_back(static_cast<std::size_t>(rows * width));
    for (std::size_t i = 0; i < memory.back().size(); ++i) memory.back()[i] = static_cast<float>(i % 17) / 17 - 0.5f;
    return RowsOf<float>{memory.back().data(), width};
  };
  const auto read = [](RowsOf<float> to) { return RowsOf<const float>{to.data, to.stride}; };
  AttentionCall call;
  call.spec = shape.spec;
  call.width = shape.width;
  call.sequences = sequences;
  call.q = read(make(wide)), call.k = read(make(narrow)), call.v = read(make(narrow)), call.d_out = read(make(wide));
  call.out = make(wide), call.d_q = make(wide), call.d_k = make(narrow), call.d_v = make(narrow);
  call.log_sums = make(shape.spec.heads);
  for (std::int64_t t = 0; t < call.tasks(); ++t) kernel.forward(call, t);
  const auto run = backward ? kernel.backward : kernel.forward;
  for (auto _ : state) {
    for (std::int64_t t = 0; t < call.tasks(); ++t) run(call, t);
  }
  state.counters["FLOP/s"] = benchmark::Counter(
      FlopsOf(shape, backward ? 5 : 2) * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void Quantise(benchmark::State& state, const Int8Rows& rows, bool scaled) {
  std::vector<float> x(1536, 0.3f);
  std::vector<std::int8_t> q(x.size());
  const float* const by = scaled ? x.data() : nullptr;
  for (auto _ : state) {
    benchmark::DoNotOptimize(rows.quantise(x.data(), by, std::ssize(x), q.data()));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * std::ssize(x));
}

void Widen(benchmark::State& state, const Int8Rows& rows) {
  const std::vector<std::int32_t> sums(1536, 1000);
  const std::vector<float> scales(sums.size(), 0.1f);
  std::vector<float> y(sums.size());
  for (auto _ : state) {
    rows.widen(sums.data(), 0.5f, scales.data(), scales.data(), std::ssize(sums), y.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * std::ssize(sums));
}

void Gelu(benchmark::State& state, const GeluKernel& kernel, bool backward) {
  const std::vector<float> x(4096, 0.7f);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    if (backward) {
      kernel.backward(x.data(), x.data(), std::ssize(x), y.data());
    } else {
      kernel.forward(x.data(), std::ssize(x), y.data());
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * std::ssize(x));
}

void RegisterAll() {
  for (const AttentionKernel& kernel : AttentionKernelsOfProcessor()) {
    for (const Shape& shape : kShapes) {
      for (const bool backward : {false, true}) {
        const std::string name =
            std::string("attention_") + (backward ? "backward/" : "forward/") + shape.name + "/" + kernel.name;
        benchmark::RegisterBenchmark(name.c_str(), [&kernel, &shape, backward](benchmark::State& state) {
          Attention(state, kernel, shape, backward);
        })->Unit(benchmark::kMicrosecond);
      }
    }
  }
  for (const GeluKernel& kernel : GeluKernelsOfProcessor()) {
    const std::string end = std::string("/") + kernel.name;
    benchmark::RegisterBenchmark(("gelu_forward" + end).c_str(), [&](benchmark::State& s) { Gelu(s, kernel, false); });
    benchmark::RegisterBenchmark(("gelu_backward" + end).c_str(), [&](benchmark::State& s) { Gelu(s, kernel, true); });
  }
  for (const Int8Rows& rows : Int8RowsOfProcessor()) {
    const std::string end = std::string("/") + rows.name;
    benchmark::RegisterBenchmark(("quantise" + end).c_str(), [&](benchmark::State& s) { Quantise(s, rows, false); });
    benchmark::RegisterBenchmark(("quantise_scaled" + end).c_str(),
                                 [&](benchmark::State& s) { Quantise(s, rows, true); });
    benchmark::RegisterBenchmark(("widen" + end).c_str(), [&](benchmark::State& s) { Widen(s, rows); });
  }
}

}  // namespace
}  // namespace fedpeft

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  fedpeft::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
