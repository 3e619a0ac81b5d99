#include "peft/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "peft/kernels/floats.h"
#include "peft/kernels/processor.h"
#include "peft/kernels/products.h"

namespace fedpeft {

namespace {

/// Queries at a time: a multiple of a tile's rows, and few enough that their scores stay in the second-level cache.
constexpr std::int64_t kBlock = 24;
/// A score that is none: its exponential is 0.
constexpr float kUnseen = -1e30f;

// ---- Rows of scores ----

/// Which keys a query sees: [begin, end).
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

Range Seen(const AttentionSpec& spec, const AttentionSequence& sequence, std::int64_t keys, std::int64_t query) {
  if (!spec.causal) return {0, keys};
  const std::int64_t end = keys - sequence.queries + query + 1;
  return {spec.window > 0 ? std::max<std::int64_t>(0, end - spec.window) : 0, end};
}

/// Numbers of a row at a time: row[j …] = f(row[j …], j). Pre: columns are a multiple of kPad.
template <typename V, typename F>
FEDPEFT_INLINE void ForEach(float* row, std::int64_t columns, F f) {
  constexpr std::int64_t kStep = sizeof(V) / sizeof(float);
  for (std::int64_t j = 0; j < columns; j += kStep) Store<V>(f(Load<V>(row + j), j), row + j);
}

FEDPEFT_INLINE void HideUnseen(float* row, std::int64_t columns, Range seen) {
  for (std::int64_t j = 0; j < seen.begin; ++j) row[j] = kUnseen;
  for (std::int64_t j = seen.end; j < columns; ++j) row[j] = kUnseen;
}

/// All numbers of a vector as one, by halves.
template <typename V, typename F>
FEDPEFT_INLINE float Reduce(V values, F f) {
  constexpr std::int64_t kStep = sizeof(V) / sizeof(float);
  float parts[kStep];
  Store<V>(values, parts);
#pragma GCC unroll 4
  for (std::int64_t half = kStep / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < half; ++i) parts[i] = f(parts[i], parts[i + half]);
  }
  return parts[0];
}

template <typename V>
FEDPEFT_INLINE float Largest(const float* row, std::int64_t columns) {
  constexpr std::int64_t kStep = sizeof(V) / sizeof(float);
  V most = Load<V>(row);
  for (std::int64_t j = kStep; j < columns; j += kStep) {
    const V values = Load<V>(row + j);
    most = Choose<V>(values > most, values, most);
  }
  return Reduce<V>(most, [](float a, float b) FEDPEFT_LAMBDA { return a > b ? a : b; });
}

template <typename V>
FEDPEFT_INLINE float SumOf(V values) {
  return Reduce<V>(values, [](float a, float b) FEDPEFT_LAMBDA { return a + b; });
}

/// Source: C. Wellons, Prospecting for hash functions (lowbias32).
FEDPEFT_INLINE std::uint32_t Mix(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

/// What a weight is multiplied by, by its query, head and key.
class Dropout {
 public:
  explicit Dropout(const AttentionCall& call)
      : seed_(call.seed),
        dropped_below_(static_cast<std::uint32_t>(static_cast<double>(call.dropout) * 4294967296.0)),
        kept_(1 / (1 - call.dropout)) {}
  bool on() const { return dropped_below_ > 0; }
  FEDPEFT_INLINE std::uint32_t OfRow(std::int64_t query, std::int64_t head) const {
    return Mix(Mix(seed_ ^ static_cast<std::uint32_t>(query)) + static_cast<std::uint32_t>(head));
  }
  FEDPEFT_INLINE float Factor(std::uint32_t row, std::int64_t key) const {
    return Mix(row + static_cast<std::uint32_t>(key) * 0x9e3779b9u) < dropped_below_ ? 0.0f : kept_;
  }

 private:
  std::uint32_t seed_;
  std::uint32_t dropped_below_;
  float kept_;
};

// ---- Tasks ----

/// Memory of a thread, which only grows. Starts at a cache line.
class Scratch {
 public:
  /// For parts of `Take`, together so many numbers; padding is theirs.
  void Begin(std::int64_t numbers) {
    constexpr std::int64_t kLine = 16;
    if (numbers + kLine > std::ssize(memory_)) memory_.resize(static_cast<std::size_t>(numbers + kLine));
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    next_ = memory_.data() + (64 - address % 64) % 64 / sizeof(float);
  }
  float* Take(std::int64_t numbers) {
    float* const taken = next_;
    next_ += numbers;
    return taken;
  }

 private:
  std::vector<float> memory_;
  float* next_ = nullptr;
};

thread_local Scratch scratch;

/// What a task is about.
struct Task {
  Task(const AttentionCall& of, std::int64_t t) : call(of) {
    index = t / of.spec.kv_heads;
    kv_head = t % of.spec.kv_heads;
    sequence = of.sequences[static_cast<std::size_t>(index)];
    keys = of.prefix + sequence.keys;
    columns = Padded(keys);
    width = Padded(of.width);
  }
  /// Keys or values of the prefix and the sequence, one after the other.
  const float* Row(RowsOf<const float> prefix, RowsOf<const float> rows, std::int64_t key) const {
    const float* const row =
        key < call.prefix ? prefix[index * call.prefix_step + key] : rows[sequence.first_key + key - call.prefix];
    return row + kv_head * call.width;
  }
  std::int64_t heads() const { return call.spec.heads / call.spec.kv_heads; }

  const AttentionCall& call;
  std::int64_t index = 0;
  std::int64_t kv_head = 0;
  AttentionSequence sequence;
  std::int64_t keys = 0;
  /// `keys` and the width of a head, padded.
  std::int64_t columns = 0;
  std::int64_t width = 0;
};

/// Queries [begin, begin + rows) of a task's sequence, at one head.
struct Block {
  std::int64_t begin = 0;
  std::int64_t rows = 0;
  std::int64_t head = 0;
  /// Keys that any of them sees, from a multiple of kPad to one.
  Range seen;

  std::int64_t columns() const { return seen.end - seen.begin; }
};

Block BlockAt(const Task& task, std::int64_t head, std::int64_t begin) {
  Block block{begin, std::min(kBlock, task.sequence.queries - begin), head, {}};
  const Range first = Seen(task.call.spec, task.sequence, task.keys, begin);
  const Range last = Seen(task.call.spec, task.sequence, task.keys, begin + block.rows - 1);
  block.seen = {first.begin / kPad * kPad, Padded(last.end)};
  return block;
}

/// Calls f(block) for all of a task's.
template <typename F>
FEDPEFT_INLINE void ForEachBlock(const Task& task, F f) {
  for (std::int64_t i = 0; i < task.heads(); ++i) {
    for (std::int64_t begin = 0; begin < task.sequence.queries; begin += kBlock) {
      f(BlockAt(task, task.kv_head * task.heads() + i, begin));
    }
  }
}

/// Times `factor`, padded with zeros.
FEDPEFT_INLINE void CopyRow(const float* from, std::int64_t n, float factor, float* to, std::int64_t padded) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = from[i] * factor;
  std::fill(to + n, to + padded, 0.0f);
}

/// [keys, width], and zeros up to [columns, width].
FEDPEFT_INLINE void CopyKeys(const Task& task, RowsOf<const float> prefix, RowsOf<const float> rows, float* to) {
  for (std::int64_t j = 0; j < task.keys; ++j) {
    CopyRow(task.Row(prefix, rows, j), task.call.width, 1, to + j * task.width, task.width);
  }
  std::fill(to + task.keys * task.width, to + task.columns * task.width, 0.0f);
}

/// [columns, width] → [call.width, columns].
FEDPEFT_INLINE void Transpose(const Task& task, const float* rows, float* to) {
  for (std::int64_t j = 0; j < task.columns; j += kPad) {
    for (std::int64_t d = 0; d < task.call.width; ++d) {
      for (std::int64_t i = 0; i < kPad; ++i) to[d * task.columns + j + i] = rows[(j + i) * task.width + d];
    }
  }
}

/// Rows of a block at its head, times `factor`: [rows, width].
FEDPEFT_INLINE void CopyBlock(const Task& task, const Block& block, RowsOf<const float> rows, float factor, float* to) {
  for (std::int64_t r = 0; r < block.rows; ++r) {
    const float* const row = rows[task.sequence.first_query + block.begin + r] + block.head * task.call.width;
    CopyRow(row, task.call.width, factor, to + r * task.width, task.width);
  }
}

/// Scores of a block, those not seen hidden: [rows, task.columns], of which only columns `seen` are written.
template <int kLanes>
FEDPEFT_INLINE void Scores(const Task& task, const Block& block, const float* queries, const float* keys_transposed,
                           float* scores) {
  Multiply<kLanes, false>({queries, task.width, 1}, keys_transposed + block.seen.begin, task.columns,
                          scores + block.seen.begin, task.columns, block.rows, task.call.width, block.columns());
  for (std::int64_t r = 0; r < block.rows; ++r) {
    Range seen = Seen(task.call.spec, task.sequence, task.keys, block.begin + r);
    seen.begin -= block.seen.begin;
    seen.end -= block.seen.begin;
    HideUnseen(scores + r * task.columns + block.seen.begin, block.columns(), seen);
  }
}

/// Drops some of a row's numbers.
FEDPEFT_INLINE void Drop(const Task& task, const Block& block, const Dropout& dropout, std::int64_t r, float* row) {
  const std::uint32_t of_row = dropout.OfRow(task.sequence.first_query + block.begin + r, block.head);
  for (std::int64_t j = 0; j < block.columns(); ++j) row[j] *= dropout.Factor(of_row, block.seen.begin + j);
}

template <int kLanes>
FEDPEFT_INLINE void Forward(const AttentionCall& call, std::int64_t t) {
  using V = Floats<kLanes>;
  const Task task(call, t);
  const Dropout dropout(call);
  scratch.Begin(task.columns * (2 * task.width + call.width + kBlock) + 2 * kBlock * task.width);
  float* const keys = scratch.Take(task.columns * task.width);
  float* const values = scratch.Take(task.columns * task.width);
  float* const keys_transposed = scratch.Take(call.width * task.columns);
  float* const scores = scratch.Take(kBlock * task.columns);
  float* const queries = scratch.Take(kBlock * task.width);
  float* const found = scratch.Take(kBlock * task.width);
  CopyKeys(task, call.prefix_k, call.k, keys);
  CopyKeys(task, call.prefix_v, call.v, values);
  Transpose(task, keys, keys_transposed);
  ForEachBlock(task, [&](const Block& block) FEDPEFT_LAMBDA {
    CopyBlock(task, block, call.q, static_cast<float>(call.spec.scale), queries);
    Scores<kLanes>(task, block, queries, keys_transposed, scores);
    float inverses[kBlock];
    for (std::int64_t r = 0; r < block.rows; ++r) {
      float* const row = scores + r * task.columns + block.seen.begin;
      const float most = Largest<V>(row, block.columns());
      V sums = {};
      ForEach<V>(row, block.columns(), [&](V x, std::int64_t) FEDPEFT_LAMBDA {
        const V weights = Exponential<V>(x - most);
        sums += weights;
        return weights;
      });
      const float sum = SumOf<V>(sums);
      inverses[r] = 1 / sum;
      call.log_sums[task.sequence.first_query + block.begin + r][block.head] = most + std::log(sum);
      if (dropout.on()) Drop(task, block, dropout, r, row);
    }
    Multiply<kLanes, false>({scores + block.seen.begin, task.columns, 1}, values + block.seen.begin * task.width,
                            task.width, found, task.width, block.rows, block.columns(), task.width);
    for (std::int64_t r = 0; r < block.rows; ++r) {
      float* const out = call.out[task.sequence.first_query + block.begin + r] + block.head * call.width;
      for (std::int64_t i = 0; i < call.width; ++i) out[i] = found[r * task.width + i] * inverses[r];
    }
  });
}

/// Of keys or values, to where they came from.
FEDPEFT_INLINE void CopyBack(const Task& task, const float* from, RowsOf<float> prefix, RowsOf<float> rows) {
  const AttentionCall& call = task.call;
  for (std::int64_t j = 0; j < task.keys; ++j) {
    if (j < call.prefix && prefix.data == nullptr) continue;
    float* const row =
        j < call.prefix ? prefix[task.index * call.prefix + j] : rows[task.sequence.first_key + j - call.prefix];
    std::copy_n(from + j * task.width, call.width, row + task.kv_head * call.width);
  }
}

template <int kLanes>
FEDPEFT_INLINE void Backward(const AttentionCall& call, std::int64_t t) {
  using V = Floats<kLanes>;
  const Task task(call, t);
  const Dropout dropout(call);
  const auto scale = static_cast<float>(call.spec.scale);
  scratch.Begin(task.columns * (4 * task.width + 2 * call.width + 3 * kBlock) + 3 * kBlock * task.width);
  float* const keys = scratch.Take(task.columns * task.width);
  float* const values = scratch.Take(task.columns * task.width);
  float* const d_keys = scratch.Take(task.columns * task.width);
  float* const d_values = scratch.Take(task.columns * task.width);
  float* const keys_transposed = scratch.Take(call.width * task.columns);
  float* const values_transposed = scratch.Take(call.width * task.columns);
  float* const weights = scratch.Take(kBlock * task.columns);
  float* const dropped = dropout.on() ? scratch.Take(kBlock * task.columns) : weights;
  float* const d_scores = scratch.Take(kBlock * task.columns);
  float* const queries = scratch.Take(kBlock * task.width);
  float* const d_out = scratch.Take(kBlock * task.width);
  float* const d_queries = scratch.Take(kBlock * task.width);
  CopyKeys(task, call.prefix_k, call.k, keys);
  CopyKeys(task, call.prefix_v, call.v, values);
  Transpose(task, keys, keys_transposed);
  Transpose(task, values, values_transposed);
  std::fill(d_keys, d_keys + task.columns * task.width, 0.0f);
  std::fill(d_values, d_values + task.columns * task.width, 0.0f);
  ForEachBlock(task, [&](const Block& block) FEDPEFT_LAMBDA {
    CopyBlock(task, block, call.q, scale, queries);
    CopyBlock(task, block, call.d_out, 1, d_out);
    Scores<kLanes>(task, block, queries, keys_transposed, weights);
    Multiply<kLanes, false>({d_out, task.width, 1}, values_transposed + block.seen.begin, task.columns,
                            d_scores + block.seen.begin, task.columns, block.rows, call.width, block.columns());
    for (std::int64_t r = 0; r < block.rows; ++r) {
      const std::int64_t query = task.sequence.first_query + block.begin + r;
      float* const row = weights + r * task.columns + block.seen.begin;
      float* const d_row = d_scores + r * task.columns + block.seen.begin;
      const float log_sum = call.log_sums[query][block.head];
      ForEach<V>(row, block.columns(), [&](V x, std::int64_t) FEDPEFT_LAMBDA { return Exponential<V>(x - log_sum); });
      if (dropout.on()) {
        float* const dropped_row = dropped + r * task.columns + block.seen.begin;
        std::copy_n(row, block.columns(), dropped_row);
        Drop(task, block, dropout, r, dropped_row);
        Drop(task, block, dropout, r, d_row);
      }
      // Σ over keys of weight · its gradient, which is also that over the width of the output.
      const float* const out = call.out[query] + block.head * call.width;
      float sum = 0;
      for (std::int64_t i = 0; i < call.width; ++i) sum += out[i] * d_out[r * task.width + i];
      ForEach<V>(d_row, block.columns(),
                 [&](V x, std::int64_t j) FEDPEFT_LAMBDA { return Load<V>(row + j) * (x - sum); });
    }
    Multiply<kLanes, false>({d_scores + block.seen.begin, task.columns, 1}, keys + block.seen.begin * task.width,
                            task.width, d_queries, task.width, block.rows, block.columns(), task.width);
    for (std::int64_t r = 0; r < block.rows; ++r) {
      float* const to = call.d_q[task.sequence.first_query + block.begin + r] + block.head * call.width;
      for (std::int64_t i = 0; i < call.width; ++i) to[i] = d_queries[r * task.width + i] * scale;
    }
    Multiply<kLanes, true>({d_scores + block.seen.begin, 1, task.columns}, queries, task.width,
                           d_keys + block.seen.begin * task.width, task.width, block.columns(), block.rows, task.width);
    Multiply<kLanes, true>({dropped + block.seen.begin, 1, task.columns}, d_out, task.width,
                           d_values + block.seen.begin * task.width, task.width, block.columns(), block.rows,
                           task.width);
  });
  CopyBack(task, d_keys, call.d_prefix_k, call.d_k);
  CopyBack(task, d_values, call.d_prefix_v, call.d_v);
}

#define FEDPEFT_ATTENTION(set, lanes, attributes)                            \
  attributes void Forward##set(const AttentionCall& call, std::int64_t t) {  \
    Forward<lanes>(call, t);                                                 \
  }                                                                          \
  attributes void Backward##set(const AttentionCall& call, std::int64_t t) { \
    Backward<lanes>(call, t);                                                \
  }

FEDPEFT_ATTENTION(Avx512, 16, FEDPEFT_AVX512)
FEDPEFT_ATTENTION(Avx2, 8, FEDPEFT_AVX2)
FEDPEFT_ATTENTION(Plain, 4, )

#undef FEDPEFT_ATTENTION

}  // namespace

std::span<const AttentionKernel> AttentionKernelsOfProcessor() {
  static const std::vector<AttentionKernel> kernels =
      UsableOf<AttentionKernel>({"avx512", ForwardAvx512, BackwardAvx512}, {"avx2", ForwardAvx2, BackwardAvx2},
                                {"plain", ForwardPlain, BackwardPlain});
  return kernels;
}

}  // namespace fedpeft
