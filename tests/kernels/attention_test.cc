#include "peft/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "peft/core/random.h"

namespace fedpeft {
namespace {

/// Rows of a matrix that begin `apart` numbers behind each other, of which the last ones are nobody's.
struct Matrix {
  std::int64_t rows = 0;
  std::int64_t width = 0;
  std::int64_t apart = 0;
  std::vector<float> values;

  Matrix() = default;
  Matrix(std::int64_t n, std::int64_t m, std::int64_t spare, float value)
      : rows(n), width(m), apart(m + spare), values(static_cast<std::size_t>(n * apart), value) {}
  RowsOf<const float> read() const { return {values.data(), apart}; }
  RowsOf<float> write() { return {values.data(), apart}; }
  float at(std::int64_t i, std::int64_t j) const { return values[static_cast<std::size_t>(i * apart + j)]; }
};

Matrix Normals(RandomStream& stream, std::int64_t rows, std::int64_t width, std::int64_t spare) {
  Matrix matrix(rows, width, spare, 0);
  for (float& value : matrix.values) value = static_cast<float>(stream.NextNormal());
  return matrix;
}

constexpr float kUntouched = 12345;

struct Case {
  std::string name;
  AttentionSpec spec;
  std::int64_t width = 8;
  std::vector<std::int64_t> lengths;
  std::int64_t prefix = 0;
  bool own_prefix = false;
  /// Queries of a sequence, at most as many as its keys; 0: as many.
  std::int64_t queries = 0;
  float dropout = 0;
};

/// Numbers for a case, and what a kernel makes of them.
struct Problem {
  explicit Problem(const Case& of) : spec(of) {
    RandomStream stream(5, of.name);
    std::int64_t keys = 0, queries = 0;
    for (const std::int64_t length : of.lengths) {
      sequences.push_back({queries, of.queries > 0 ? std::min(of.queries, length) : length, keys, length});
      keys += length;
      queries += sequences.back().queries;
    }
    const std::int64_t wide = of.spec.heads * of.width, narrow = of.spec.kv_heads * of.width;
    const std::int64_t prefixes = of.prefix * (of.own_prefix ? std::ssize(sequences) : 1);
    q = Normals(stream, queries, wide, 3);
    k = Normals(stream, keys, narrow, 5);
    v = Normals(stream, keys, narrow, 0);
    prefix_k = Normals(stream, prefixes, narrow, 0);
    prefix_v = Normals(stream, prefixes, narrow, 1);
    d_out = Normals(stream, queries, wide, 2);
    out = Matrix(queries, wide, 1, kUntouched);
    log_sums = Matrix(queries, of.spec.heads, 0, kUntouched);
    d_q = Matrix(queries, wide, 1, kUntouched);
    d_k = Matrix(keys, narrow, 1, kUntouched);
    d_v = Matrix(keys, narrow, 1, kUntouched);
    d_prefix_k = Matrix(of.prefix * std::ssize(sequences), narrow, 0, kUntouched);
    d_prefix_v = d_prefix_k;
  }

  AttentionCall Call() {
    AttentionCall call;
    call.spec = spec.spec;
    call.width = spec.width;
    call.sequences = sequences;
    call.q = q.read();
    call.k = k.read();
    call.v = v.read();
    call.prefix = spec.prefix;
    call.prefix_step = spec.own_prefix ? spec.prefix : 0;
    call.prefix_k = prefix_k.read();
    call.prefix_v = prefix_v.read();
    call.dropout = spec.dropout;
    call.seed = 77;
    call.out = out.write();
    call.log_sums = log_sums.write();
    call.d_out = d_out.read();
    call.d_q = d_q.write();
    call.d_k = d_k.write();
    call.d_v = d_v.write();
    call.d_prefix_k = d_prefix_k.write();
    call.d_prefix_v = d_prefix_v.write();
    return call;
  }
  void Run(const AttentionKernel& kernel) {
    const AttentionCall call = Call();
    for (std::int64_t t = 0; t < call.tasks(); ++t) kernel.forward(call, t);
    for (std::int64_t t = 0; t < call.tasks(); ++t) kernel.backward(call, t);
  }

  Case spec;
  std::vector<AttentionSequence> sequences;
  Matrix q, k, v, prefix_k, prefix_v, d_out;
  Matrix out, log_sums, d_q, d_k, d_v, d_prefix_k, d_prefix_v;
};

/// Attention and its gradients as textbooks have them, in double: for each query and key.
class Textbook {
 public:
  explicit Textbook(const Problem& problem) : p_(problem) {
    out = Zeros(p_.out), d_q = Zeros(p_.d_q), d_k = Zeros(p_.d_k), d_v = Zeros(p_.d_v);
    d_prefix_k = Zeros(p_.d_prefix_k), d_prefix_v = Zeros(p_.d_prefix_v);
    for (std::size_t s = 0; s < p_.sequences.size(); ++s) {
      for (std::int64_t head = 0; head < p_.spec.spec.heads; ++head) {
        for (std::int64_t i = 0; i < p_.sequences[s].queries; ++i) Query(static_cast<std::int64_t>(s), head, i);
      }
    }
  }

  /// Row-major, without spare numbers.
  std::vector<double> out, d_q, d_k, d_v, d_prefix_k, d_prefix_v;

 private:
  static std::vector<double> Zeros(const Matrix& like) {
    return std::vector<double>(static_cast<std::size_t>(like.rows * like.width));
  }

  void Query(std::int64_t s, std::int64_t head, std::int64_t i) {
    const AttentionSequence& sequence = p_.sequences[static_cast<std::size_t>(s)];
    const AttentionSpec& spec = p_.spec.spec;
    const std::int64_t width = p_.spec.width, at = head * width, kv = head / (spec.heads / spec.kv_heads) * width;
    const std::int64_t prefix = p_.spec.prefix, keys = prefix + sequence.keys, query = sequence.first_query + i;
    const auto key = [&](const Matrix& before, const Matrix& own, std::int64_t j, std::int64_t d) {
      if (j >= prefix) return static_cast<double>(own.at(sequence.first_key + j - prefix, kv + d));
      return static_cast<double>(before.at((p_.spec.own_prefix ? s * prefix : 0) + j, kv + d));
    };
    const auto add = [&](std::vector<double>& before, std::vector<double>& own, std::int64_t j, std::int64_t d,
                         double value) {
      const std::int64_t row = j < prefix ? s * prefix + j : sequence.first_key + j - prefix;
      (j < prefix ? before : own)[static_cast<std::size_t>(row * spec.kv_heads * width + kv + d)] += value;
    };
    const auto sees = [&](std::int64_t j) {
      const std::int64_t place = keys - sequence.queries + i;
      return !spec.causal || (j <= place && (spec.window == 0 || j > place - spec.window));
    };
    std::vector<double> weights(static_cast<std::size_t>(keys)), d_weights(weights.size());
    double sum = 0, mean = 0;
    for (std::int64_t j = 0; j < keys; ++j) {
      double score = 0;
      for (std::int64_t d = 0; d < width; ++d) score += p_.q.at(query, at + d) * key(p_.prefix_k, p_.k, j, d);
      sum += weights[static_cast<std::size_t>(j)] = sees(j) ? std::exp(spec.scale * score) : 0;
    }
    for (std::size_t j = 0; j < weights.size(); ++j) weights[j] /= sum;
    const std::size_t row = static_cast<std::size_t>(query * spec.heads * width + at);
    for (std::int64_t j = 0; j < keys; ++j) {
      const double weight = weights[static_cast<std::size_t>(j)];
      for (std::int64_t d = 0; d < width; ++d) {
        const double value = key(p_.prefix_v, p_.v, j, d), gradient = p_.d_out.at(query, at + d);
        out[row + static_cast<std::size_t>(d)] += weight * value;
        d_weights[static_cast<std::size_t>(j)] += gradient * value;
        add(d_prefix_v, d_v, j, d, weight * gradient);
      }
      mean += weight * d_weights[static_cast<std::size_t>(j)];
    }
    for (std::int64_t j = 0; j < keys; ++j) {
      const auto k = static_cast<std::size_t>(j);
      const double d_score = spec.scale * weights[k] * (d_weights[k] - mean);
      for (std::int64_t d = 0; d < width; ++d) {
        d_q[row + static_cast<std::size_t>(d)] += d_score * key(p_.prefix_k, p_.k, j, d);
        add(d_prefix_k, d_k, j, d, d_score * p_.q.at(query, at + d));
      }
    }
  }

  const Problem& p_;
};

void ExpectNear(const Matrix& got, const std::vector<double>& want, const char* what) {
  for (std::int64_t i = 0; i < got.rows; ++i) {
    for (std::int64_t j = 0; j < got.width; ++j) {
      const double value = want[static_cast<std::size_t>(i * got.width + j)];
      ASSERT_LT(std::abs(got.at(i, j) - value) / (1 + std::abs(value)), 5e-6) << what << " " << i << ", " << j;
    }
    for (std::int64_t j = got.width; j < got.apart; ++j) ASSERT_EQ(got.at(i, j), kUntouched) << what;
  }
}

std::vector<Case> Cases() {
  const AttentionSpec plain{.heads = 2, .kv_heads = 2, .scale = 0.4};
  AttentionSpec causal = plain, window = plain, shared{.heads = 6, .kv_heads = 2, .causal = true, .scale = 0.3};
  causal.causal = window.causal = true;
  window.window = 5;
  const std::vector<std::int64_t> mixed = {1, 7, 16, 17, 25, 49};
  return {{"plain", plain, 8, mixed},
          {"wide", {.heads = 2, .kv_heads = 2, .scale = 0.125}, 64, mixed},
          {"odd_width", plain, 5, mixed},
          {"long", plain, 32, {3, 130}},
          {"causal", causal, 16, mixed},
          {"causal_long", causal, 32, {3, 130}},
          {"window", window, 16, mixed},
          {"window_long", window, 16, {150}},
          {"shared", shared, 16, mixed},
          {"remainder", {.heads = 2, .kv_heads = 2, .scale = 0.1}, 80, mixed},
          {"pooled", plain, 8, mixed, 0, false, 1},
          {"pooled_causal", window, 8, mixed, 0, false, 1},
          {"last_queries", causal, 8, mixed, 0, false, 5},
          {"some_queries", plain, 8, mixed, 0, false, 5},
          {"prefix", plain, 8, mixed, 3},
          {"prefix_causal", window, 8, mixed, 20},
          {"own_prefix", shared, 8, mixed, 3, true},
          {"pooled_prefix", plain, 8, mixed, 3, false, 1}};
}

class AttentionTest : public ::testing::TestWithParam<Case> {};

TEST_P(AttentionTest, IsTheTextbooksInEveryInstructionSet) {
  for (const AttentionKernel& kernel : AttentionKernelsOfProcessor()) {
    SCOPED_TRACE(kernel.name);
    Problem problem(GetParam());
    problem.Run(kernel);
    const Textbook want(problem);
    ExpectNear(problem.out, want.out, "out");
    ExpectNear(problem.d_q, want.d_q, "d_q");
    ExpectNear(problem.d_k, want.d_k, "d_k");
    ExpectNear(problem.d_v, want.d_v, "d_v");
    ExpectNear(problem.d_prefix_k, want.d_prefix_k, "d_prefix_k");
    ExpectNear(problem.d_prefix_v, want.d_prefix_v, "d_prefix_v");
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionTest, ::testing::ValuesIn(Cases()),
                         [](const auto& one) { return one.param.name; });

/// With values that are ones, an output is the sum of the weights that stayed.
TEST(AttentionDropoutTest, DropsTheShareThatItShouldAndTheSameBackwards) {
  const Case dropped{"dropped", {.heads = 2, .kv_heads = 2, .scale = 0}, 1, {400}, 0, false, 0, 0.25f};
  std::vector<float> first;
  for (const AttentionKernel& kernel : AttentionKernelsOfProcessor()) {
    Problem problem(dropped);
    std::fill(problem.v.values.begin(), problem.v.values.end(), 1.0f);
    std::fill(problem.d_out.values.begin(), problem.d_out.values.end(), 1.0f);
    problem.Run(kernel);
    double sum = 0, squares = 0, of_values = 0;
    for (std::int64_t i = 0; i < 400; ++i) {
      sum += problem.out.at(i, 0);
      squares += std::pow(problem.out.at(i, 0) - 1, 2);
      of_values += problem.d_v.at(i, 0);
    }
    EXPECT_NEAR(sum / 400, 1, 0.01);
    EXPECT_NEAR(squares / 400, 0.25 / 0.75 / 400, 2e-4);  // the variance of a mean of 400
    EXPECT_NEAR(of_values, sum, 1e-2);                    // what was dropped got no gradient either
    if (first.empty()) first = problem.out.values;
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_NEAR(problem.out.values[i], first[i], 1e-5) << kernel.name;
  }
}

/// The gradients of a dropped case, by differences: the same weights are dropped at other inputs.
TEST(AttentionDropoutTest, GradientsAreThoseOfWhatStays) {
  const Case dropped{"differences", {.heads = 1, .kv_heads = 1, .causal = true, .scale = 0.5}, 4, {9}, 0, false, 0,
                     0.4f};
  const AttentionKernel& kernel = AttentionKernelsOfProcessor().front();
  Problem problem(dropped);
  problem.Run(kernel);
  const auto loss = [&](Matrix Problem::*which, std::int64_t i, std::int64_t j, float by) {
    Problem moved(dropped);
    (moved.*which).values[static_cast<std::size_t>(i * (moved.*which).apart + j)] += by;
    moved.Run(kernel);
    double sum = 0;
    for (std::int64_t r = 0; r < 9; ++r) {
      for (std::int64_t c = 0; c < 4; ++c) sum += double{moved.out.at(r, c)} * moved.d_out.at(r, c);
    }
    return sum;
  };
  const std::pair<Matrix Problem::*, Matrix Problem::*> pairs[] = {
      {&Problem::q, &Problem::d_q}, {&Problem::k, &Problem::d_k}, {&Problem::v, &Problem::d_v}};
  for (const auto& [input, gradient] : pairs) {
    for (std::int64_t i = 0; i < 9; ++i) {
      const double slope = (loss(input, i, 1, 0.01f) - loss(input, i, 1, -0.01f)) / 0.02;
      EXPECT_NEAR((problem.*gradient).at(i, 1), slope, 2e-3) << i;
    }
  }
}

TEST(AttentionEdgesTest, AFrozenPrefixGetsNoGradient) {
  for (const AttentionKernel& kernel : AttentionKernelsOfProcessor()) {
    Problem problem({"frozen", {.heads = 2, .kv_heads = 2, .scale = 0.4}, 8, {3, 20}, 4});
    AttentionCall call = problem.Call();
    call.d_prefix_k = call.d_prefix_v = {};
    for (std::int64_t t = 0; t < call.tasks(); ++t) kernel.forward(call, t);
    for (std::int64_t t = 0; t < call.tasks(); ++t) kernel.backward(call, t);
    const Textbook want(problem);
    ExpectNear(problem.d_k, want.d_k, "d_k");
    ExpectNear(problem.d_v, want.d_v, "d_v");
  }
}

TEST(AttentionEdgesTest, LargeScoresDoNotOverflow) {
  for (const AttentionKernel& kernel : AttentionKernelsOfProcessor()) {
    Problem problem({"large", {.heads = 1, .kv_heads = 1, .scale = 1e4}, 8, {20}});
    problem.Run(kernel);
    for (const Matrix* of : {&problem.out, &problem.d_q, &problem.d_k, &problem.d_v}) {
      for (const float value : of->values) EXPECT_TRUE(std::isfinite(value));
    }
  }
}

TEST(AttentionEdgesTest, WhatIsNotFiniteSpoilsItsOwnSequenceAlone) {
  for (const AttentionKernel& kernel : AttentionKernelsOfProcessor()) {
    for (const float bad : {INFINITY, NAN}) {
      Problem problem({"bad", {.heads = 1, .kv_heads = 1, .scale = 1}, 8, {3, 4}});
      problem.k.values[0] = bad;
      problem.Run(kernel);
      EXPECT_FALSE(std::isfinite(problem.out.at(0, 0) + problem.out.at(1, 0) + problem.out.at(2, 0)));
      for (std::int64_t i = 3; i < 7; ++i) EXPECT_TRUE(std::isfinite(problem.out.at(i, 0)));
    }
  }
}

}  // namespace
}  // namespace fedpeft
