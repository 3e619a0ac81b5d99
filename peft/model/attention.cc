#include "peft/model/attention.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#ifndef INTRA_OP_PARALLEL
#error "at::parallel_for is serial where it is compiled without LibTorch's threads (FindLibTorch.cmake)"
#endif

namespace fedpeft {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

constexpr const char* kLayout = "layout";

/// Float32 rows whose numbers are neighbours; the rows themselves may be parts of longer ones.
Tensor InRows(const Tensor& values) {
  const Tensor floats = values.to(torch::kFloat32);
  return floats.stride(-1) == 1 ? floats : floats.contiguous();
}

RowsOf<const float> Reading(const Tensor& rows) {
  return rows.defined() ? RowsOf<const float>{rows.const_data_ptr<float>(), rows.stride(-2)} : RowsOf<const float>{};
}

RowsOf<float> Writing(const Tensor& rows) {
  return rows.defined() ? RowsOf<float>{rows.mutable_data_ptr<float>(), rows.stride(-2)} : RowsOf<float>{};
}

/// What attention is about besides numbers.
struct Layout : torch::CustomClassHolder {
  AttentionSpec spec;
  std::vector<AttentionSequence> sequences;
  float dropout = 0;
  std::uint32_t seed = 0;
};

/// q, k, v, and keys and values of the prefix, or undefined ones; of any type.
using Inputs = std::array<Tensor, 5>;

/// As the kernel reads them.
Inputs InRows(const Inputs& inputs) {
  Inputs rows;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].defined()) rows[i] = InRows(inputs[i]);
  }
  return rows;
}

/// Everything but results. The rows have to outlive it.
AttentionCall CallOf(const Layout& layout, const Inputs& rows) {
  const auto& [q, k, v, prefix_k, prefix_v] = rows;
  AttentionCall call;
  call.spec = layout.spec;
  call.width = q.size(1) / layout.spec.heads;
  call.sequences = layout.sequences;
  call.q = Reading(q);
  call.k = Reading(k);
  call.v = Reading(v);
  if (prefix_k.defined()) {  // contiguous; strides of a dimension of 1 say nothing
    call.prefix_k = {prefix_k.const_data_ptr<float>(), prefix_k.size(-1)};
    call.prefix_v = {prefix_v.const_data_ptr<float>(), prefix_v.size(-1)};
    call.prefix = prefix_k.size(-2);
    call.prefix_step = prefix_k.dim() == 3 ? call.prefix : 0;
  }
  call.dropout = layout.dropout;
  call.seed = layout.seed;
  return call;
}

void RunTasks(const AttentionCall& call, void (*run)(const AttentionCall&, std::int64_t)) {
  // Of each sequence, which may be long or short, every thread gets some heads.
  const std::int64_t shares = at::get_num_threads();
  at::parallel_for(0, shares, /*grain_size=*/1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t share = begin; share < end; ++share) {
      for (std::int64_t t = share; t < call.tasks(); t += shares) run(call, t);
    }
  });
}

const AttentionKernel& Kernel() {
  return AttentionKernelsOfProcessor().front();
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& q, const Tensor& k, const Tensor& v,
                        const std::optional<Tensor>& prefix_k, const std::optional<Tensor>& prefix_v,
                        const c10::intrusive_ptr<Layout>& layout) {
    const Inputs inputs = {q, k, v, prefix_k.value_or(Tensor()), prefix_v.value_or(Tensor())};
    const Inputs rows = InRows(inputs);
    const Tensor out = torch::empty(q.sizes()), log_sums = torch::empty({q.size(0), layout->spec.heads});
    AttentionCall call = CallOf(*layout, rows);
    call.out = Writing(out);
    call.log_sums = Writing(log_sums);
    RunTasks(call, Kernel().forward);
    const Tensor result = out.to(q.scalar_type());
    context->save_for_backward({q, k, v, inputs[3], inputs[4], result, log_sums});
    context->saved_data[kLayout] = c10::IValue::make_capsule(layout);
    return result;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const auto layout = c10::static_intrusive_pointer_cast<Layout>(context->saved_data[kLayout].toCapsule());
    const Inputs rows = InRows(Inputs{saved[0], saved[1], saved[2], saved[3], saved[4]});
    const Tensor out = InRows(saved[5]), log_sums = saved[6], d_out = InRows(gradients[0]);
    AttentionCall call = CallOf(*layout, rows);
    tensor_list results(rows.size() + 1);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const bool is_prefix = i >= 3;  // each sequence has its own gradient of it
      if (!rows[i].defined() || (is_prefix && !context->needs_input_grad(i))) continue;
      results[i] = is_prefix ? torch::empty({std::ssize(layout->sequences), call.prefix, rows[i].size(-1)})
                             : torch::empty(rows[i].sizes());
    }
    call.out = Writing(out);
    call.log_sums = Writing(log_sums);
    call.d_out = Reading(d_out);
    call.d_q = Writing(results[0]);
    call.d_k = Writing(results[1]);
    call.d_v = Writing(results[2]);
    call.d_prefix_k = Writing(results[3]);
    call.d_prefix_v = Writing(results[4]);
    RunTasks(call, Kernel().backward);
    for (std::size_t i = 3; i < rows.size(); ++i) {
      if (results[i].defined() && rows[i].dim() == 2) results[i] = results[i].sum(0);
    }
    return results;
  }
};

/// The kernel trusts what it gets. `sequences` stand one behind the other.
void CheckShapes(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix, const AttentionSpec& spec,
                 const std::vector<AttentionSequence>& sequences) {
  const std::int64_t width = q.size(1) / spec.heads, narrow = spec.kv_heads * width;
  const AttentionSequence& last = sequences.back();
  TORCH_CHECK(q.size(1) == spec.heads * width && k.size(1) == narrow && k.sizes() == v.sizes(),
              "attention: widths of q ", q.sizes(), ", k ", k.sizes(), ", v ", v.sizes());
  TORCH_CHECK(last.first_query + last.queries == q.size(0) && last.first_key + last.keys == k.size(0),
              "attention: sequences of other rows than q ", q.sizes(), ", k ", k.sizes());
  for (const AttentionSequence& sequence : sequences) {
    TORCH_CHECK(!spec.causal || sequence.queries <= sequence.keys, "attention: more queries than keys");
  }
  if (!prefix.keys.defined()) return;
  TORCH_CHECK(prefix.keys.sizes() == prefix.values.sizes() && prefix.keys.size(-1) == narrow &&
                  (prefix.keys.dim() == 2 || prefix.keys.size(0) == std::ssize(sequences)),
              "attention: prefix ", prefix.keys.sizes(), " for ", sequences.size(), " sequences of k ", k.sizes());
}

/// Shapes: q [Nq, H·D], k, v [N, Hkv·D]; the result as q, of its type. Computed in float32.
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix, const AttentionSpec& spec,
              std::vector<AttentionSequence> sequences, const ForwardMode& mode) {
  CheckShapes(q, k, v, prefix, spec, sequences);
  auto layout = c10::make_intrusive<Layout>();
  layout->spec = spec;
  layout->sequences = std::move(sequences);
  if (mode.base_dropout > 0) {
    layout->dropout = static_cast<float>(mode.base_dropout);
    const Tensor drawn = torch::empty({}, torch::kInt64).random_(std::int64_t{1} << 32, mode.generator);
    layout->seed = static_cast<std::uint32_t>(drawn.item<std::int64_t>());
  }
  std::optional<Tensor> prefix_k, prefix_v;
  if (prefix.keys.defined()) {
    // In the type of keys and values, as a cache holds them.
    prefix_k = prefix.keys.to(k.scalar_type()).contiguous();
    prefix_v = prefix.values.to(v.scalar_type()).contiguous();
  }
  return AttentionFunction::apply(q, k, v, prefix_k, prefix_v, layout);
}

}  // namespace

Tensor PackedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix,
                       const PackedBatch& batch, const AttentionSpec& spec, const ForwardMode& mode) {
  std::vector<AttentionSequence> sequences;
  std::int64_t row = 0;
  for (const std::int64_t length : batch.lengths) {
    sequences.push_back({row, length, row, length});
    row += length;
  }
  return Attend(q, k, v, prefix, spec, std::move(sequences), mode);
}

Tensor PooledAttention(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix,
                       const PackedBatch& batch, const AttentionSpec& spec, const ForwardMode& mode) {
  std::vector<AttentionSequence> sequences;
  std::int64_t row = 0;
  for (const std::int64_t length : batch.lengths) {
    sequences.push_back({std::ssize(sequences), 1, row, length});
    row += length;
  }
  return Attend(q, k, v, prefix, spec, std::move(sequences), mode);
}

Tensor ContinuedAttention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  return Attend(q, k, v, {}, spec, {{0, q.size(0), 0, k.size(0)}}, {});
}

Tensor OpenAttention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  AttentionSpec open = spec;
  open.causal = false;
  return Attend(q, k, v, {}, open, {{0, q.size(0), 0, k.size(0)}}, {});
}

}  // namespace fedpeft
