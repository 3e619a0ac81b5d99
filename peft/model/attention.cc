#include "peft/model/attention.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <optional>
#include <utility>
#include <vector>

namespace fedpeft {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

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

/// Everything but results. The tensors have to outlive it.
AttentionCall CallOf(const Layout& layout, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& prefix_k,
                     const Tensor& prefix_v) {
  AttentionCall call;
  call.spec = layout.spec;
  call.width = q.size(1) / layout.spec.heads;
  call.sequences = layout.sequences;
  call.q = Reading(q);
  call.k = Reading(k);
  call.v = Reading(v);
  call.prefix_k = Reading(prefix_k);
  call.prefix_v = Reading(prefix_v);
  if (prefix_k.defined()) {
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
    const Tensor out = torch::empty(q.sizes()), log_sums = torch::empty({q.size(0), layout->spec.heads});
    const Tensor before_k = prefix_k.value_or(Tensor()), before_v = prefix_v.value_or(Tensor());
    AttentionCall call = CallOf(*layout, q, k, v, before_k, before_v);
    call.out = Writing(out);
    call.log_sums = Writing(log_sums);
    RunTasks(call, Kernel().forward);
    context->save_for_backward({q, k, v, before_k, before_v, out, log_sums});
    context->saved_data["layout"] = c10::IValue::make_capsule(layout);
    return out;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const tensor_list saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &prefix_k = saved[3], &prefix_v = saved[4];
    const auto layout = c10::static_intrusive_pointer_cast<Layout>(context->saved_data["layout"].toCapsule());
    AttentionCall call = CallOf(*layout, q, k, v, prefix_k, prefix_v);
    const Tensor d_out = InRows(gradients[0]);
    tensor_list results(6);
    for (const std::size_t i : {0, 1, 2}) results[i] = torch::empty(saved[i].sizes());
    for (const std::size_t i : {3, 4}) {
      if (!saved[i].defined()) continue;
      results[i] = torch::empty({std::ssize(layout->sequences), call.prefix, k.size(1)});
    }
    call.out = Writing(saved[5]);
    call.log_sums = Writing(saved[6]);
    call.d_out = Reading(d_out);
    call.d_q = Writing(results[0]);
    call.d_k = Writing(results[1]);
    call.d_v = Writing(results[2]);
    call.d_prefix_k = Writing(results[3]);
    call.d_prefix_v = Writing(results[4]);
    RunTasks(call, Kernel().backward);
    for (const std::size_t i : {3, 4}) {
      if (saved[i].defined() && saved[i].dim() == 2) results[i] = results[i].sum(0);
    }
    return results;
  }
};

/// Shapes: q [Nq, H·D], k, v [N, Hkv·D]; the result as q, of its type.
Tensor Attend(const Tensor& q, const Tensor& k, const Tensor& v, const KeyValues& prefix, const AttentionSpec& spec,
              std::vector<AttentionSequence> sequences, const ForwardMode& mode) {
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
    prefix_k = InRows(prefix.keys).contiguous();
    prefix_v = InRows(prefix.values).contiguous();
  }
  return AttentionFunction::apply(InRows(q), InRows(k), InRows(v), prefix_k, prefix_v, layout).to(q.scalar_type());
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
