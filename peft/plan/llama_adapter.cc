// LLaMA-Adapter: vectors for each of the top layers, and a gate.
#include <algorithm>

#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"

namespace fedpeft {

Result<std::int64_t> FirstAdaptedLayer(const BaseShape& base, const LlamaAdapterConfig& adapter) {
  if (!PredictsNextToken(base)) {
    return FailedPrecondition("peft.method: got llama_adapter, want another one: this " + base.model_type +
                              " base is an encoder, and the method is for decoders");
  }
  if (adapter.length < 1) {
    return InvalidArgument("peft.llama_adapter.length: got " + std::to_string(adapter.length) + ", want at least 1");
  }
  const std::int64_t all = base.num_hidden_layers;
  if (adapter.layers < 0 || adapter.layers > all) {
    return InvalidArgument("peft.llama_adapter.layers: got " + std::to_string(adapter.layers) + ", want 0 to " +
                           std::to_string(all) + " (base.num_hidden_layers)");
  }
  constexpr std::int64_t kLeftAlone = 2;
  return all - (adapter.layers > 0 ? adapter.layers : std::max<std::int64_t>(1, all - kLeftAlone));
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const LlamaAdapterConfig& adapter) {
  ASSIGN_OR_RETURN(const std::int64_t first, FirstAdaptedLayer(at.base, adapter));
  std::vector<TensorSpec> tensors;
  for (const AttentionSite& site : at.sites.attentions) {
    if (site.layer < first) continue;
    // Normal of deviation 1, as the authors' and peft's: what a layer projects is normalised to that size too.
    tensors.push_back({PeftName(site.path, "adaption_prompt"),
                       {1, adapter.length, at.base.hidden_size},
                       Role::kGatedPrompt,
                       site.path,
                       {InitLaw::Kind::kNormal, 1}});
    tensors.push_back({PeftName(site.path, "adaption_gate"), {1}, Role::kGate, site.path, {}});
  }
  return tensors;
}

}  // namespace fedpeft
