// Attention over sequences of different lengths that stand one behind the other as rows, forwards and backwards,
// without padding. Compiled for several instruction sets, which give the same but for the rounding of sums. Torch-free.
//
// A call is split into tasks, one for each sequence and, neighbours, head of keys. They may run on any threads at the
// same time; a thread is fast with those that are near each other.
// Source of the backward pass: Dao et al., FlashAttention, 2022, section B.4; scores are made again from the logarithm
// of their sum, for some queries and all of their keys at a time.
#pragma once

#include <cstdint>
#include <span>

namespace fedpeft {

/// H heads of queries over Hkv heads of keys and values, each of which serves H / Hkv neighbouring queries.
struct AttentionSpec {
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  /// A token sees itself and those before it, instead of all.
  bool causal = false;
  /// With `causal`: how many tokens it sees, itself included; 0: no limit.
  std::int64_t window = 0;
  /// What scores are multiplied by.
  double scale = 1;
};

/// Queries of one sequence, its last where `causal`, and all of its keys.
struct AttentionSequence {
  std::int64_t first_query = 0;
  std::int64_t queries = 0;
  std::int64_t first_key = 0;
  std::int64_t keys = 0;
};

/// Row i begins at data + i · stride. Null data: no such rows.
template <typename T>
struct RowsOf {
  T* data = nullptr;
  std::int64_t stride = 0;

  T* operator[](std::int64_t i) const { return data + i * stride; }
};

struct AttentionCall {
  AttentionSpec spec;
  /// D, numbers of a head.
  std::int64_t width = 0;
  std::span<const AttentionSequence> sequences;
  /// Rows of H·D, and of Hkv·D.
  RowsOf<const float> q, k, v;
  /// Keys and values in front of every sequence, in rows of Hkv·D: `prefix` rows, those of the s-th sequence
  /// s · prefix_step rows behind the first's.
  RowsOf<const float> prefix_k, prefix_v;
  std::int64_t prefix = 0;
  std::int64_t prefix_step = 0;
  /// With what probability a weight is dropped, the others growing accordingly; which ones follows from the seed.
  float dropout = 0;
  std::uint32_t seed = 0;

  /// Results: rows of H·D; and of H, the logarithm of the sum of a query's scores, for the backward pass.
  RowsOf<float> out, log_sums;

  /// Of the backward pass, besides those: the gradient of `out`, and what it gives. Of the prefix s · prefix rows
  /// behind the first's, each sequence by itself; null of a prefix: not wanted.
  RowsOf<const float> d_out;
  RowsOf<float> d_q, d_k, d_v, d_prefix_k, d_prefix_v;

  std::int64_t tasks() const { return static_cast<std::int64_t>(sequences.size()) * spec.kv_heads; }
};

/// One instruction set's.
struct AttentionKernel {
  const char* name;
  /// Task t of call.tasks(): writes its part of `out` and `log_sums`.
  void (*forward)(const AttentionCall& call, std::int64_t t);
  /// The same of the gradients; reads what forward wrote.
  void (*backward)(const AttentionCall& call, std::int64_t t);
};

/// Those that are used here (processor.h), the widest first; never empty.
std::span<const AttentionKernel> AttentionKernelsOfProcessor();

}  // namespace fedpeft
