#include "peft/method/hook.h"

#include <torch/torch.h>

#include <string>
#include <type_traits>
#include <variant>

#include "peft/method/bottleneck.h"
#include "peft/method/ia3.h"
#include "peft/method/llama_adapter.h"
#include "peft/method/lora.h"
#include "peft/method/named_tensors.h"
#include "peft/method/offsets.h"
#include "peft/method/sparse.h"
#include "peft/method/virtual_tokens.h"

namespace fedpeft {

namespace {

std::unique_ptr<const SiteHook> Make(const LoraConfig& lora, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<LoraHook>(lora, base, tensors);
}
std::unique_ptr<const SiteHook> Make(const AdaLoraConfig& adalora, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<LoraHook>(adalora, base, tensors);
}
std::unique_ptr<const SiteHook> Make(const Ia3Config& ia3, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<Ia3Hook>(ia3, base, tensors);
}
std::unique_ptr<const SiteHook> Make(const BottleneckConfig& adapter, const BaseShape& base,
                                     const NamedTensors& tensors) {
  return std::make_unique<BottleneckHook>(adapter, base, tensors);
}
std::unique_ptr<const SiteHook> Make(const PrefixConfig& prefix, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<PrefixHook>(base, VirtualTokens(TokenMlpOf(base, prefix), tensors));
}
std::unique_ptr<const SiteHook> Make(const PromptConfig& prompt, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<PromptHook>(VirtualTokens(TokenMlpOf(base, prompt), tensors),
                                      prompt.start != PromptConfig::Start::kRandom);
}
std::unique_ptr<const SiteHook> Make(const OffsetConfig&, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<OffsetHook>(base, tensors);
}
std::unique_ptr<const SiteHook> Make(const SparseConfig& sparse, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<SparseHook>(sparse, base, tensors);
}
std::unique_ptr<const SiteHook> Make(const LlamaAdapterConfig&, const BaseShape& base, const NamedTensors& tensors) {
  return std::make_unique<LlamaAdapterHook>(base, tensors);
}

}  // namespace

std::unique_ptr<const SiteHook> MakeHook(const PeftPlan& plan, const ParamLayout& layout,
                                         const std::vector<torch::Tensor>& tensors,
                                         const std::shared_ptr<const ExampleRows>& rows) {
  const NamedTensors named(layout, tensors, rows);
  return std::visit([&](const auto& method) { return Make(method, plan.base, named); }, plan.method);
}

}  // namespace fedpeft
