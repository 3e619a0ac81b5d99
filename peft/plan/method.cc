#include "peft/plan/method.h"

#include <array>
#include <cstdio>

namespace fedpeft {

namespace {

std::string Describe(const LoraConfig& lora) {
  return (lora.use_dora ? "DoRA of rank " : "LoRA of rank ") + std::to_string(lora.rank);
}
std::string Describe(const AdaLoraConfig& adalora) {
  return "AdaLoRA from rank " + std::to_string(adalora.lora.rank) + " to " + std::to_string(adalora.target_rank);
}
std::string Describe(const Ia3Config&) {
  return "(IA)³";
}
std::string Describe(const BottleneckConfig& adapter) {
  constexpr const char* kPlaces[] = {"after attention and feed-forward", "after the feed-forward",
                                     "beside the feed-forward"};
  return (adapter.phm_dim > 0 ? "Compacter adapters of " : "adapters of ") + std::to_string(adapter.size) + " " +
         kPlaces[static_cast<int>(adapter.kind)];
}
std::string Describe(TokenEncoder encoder) {
  return encoder == TokenEncoder::kMlp ? " made by an MLP" : "";
}
std::string Describe(const PrefixConfig& prefix) {
  return "a prefix of " + std::to_string(prefix.length) + " keys and values a layer" + Describe(prefix.encoder);
}
std::string Describe(const PromptConfig& prompt) {
  return "a prompt of " + std::to_string(prompt.length) + " vectors" + Describe(prompt.encoder);
}
std::string Describe(const OffsetConfig& offset) {
  constexpr const char* kParts[] = {"the base's biases", "the base's norms", "the whole base"};
  return kParts[static_cast<int>(offset.what)];
}
std::string Describe(const SparseConfig& sparse) {
  std::array<char, 32> share{};
  std::snprintf(share.data(), share.size(), "%g", sparse.density);
  return std::string("a share of ") + share.data() + " of the linears' weights";
}

std::string Describe(const LlamaAdapterConfig& adapter) {
  return "LLaMA-Adapter of " + std::to_string(adapter.length) + " vectors in each of the top " +
         (adapter.layers > 0 ? std::to_string(adapter.layers) + " " : "") + "layers";
}

/// Whether single examples have gradients under a method: where its hook applies nothing but Trained's functions
/// (peft/method/trained.h).
template <typename Config>
bool HasExampleGradients([[maybe_unused]] const Config& method) {
  if constexpr (std::is_same_v<Config, BottleneckConfig>) return method.phm_dim == 0;
  if constexpr (std::is_same_v<Config, PrefixConfig> || std::is_same_v<Config, PromptConfig>) {
    return method.encoder == TokenEncoder::kNone;
  }
  if constexpr (std::is_same_v<Config, OffsetConfig>) return method.what != OffsetConfig::What::kAll;
  return !std::is_same_v<Config, SparseConfig> && !std::is_same_v<Config, LlamaAdapterConfig>;
}

}  // namespace

Lead LeadOf(const MethodConfig& method) {
  if (const auto* prompt = std::get_if<PromptConfig>(&method))
    return {.prompt = prompt->length, .prefix = 0, .ids = prompt->ids};
  if (const auto* prefix = std::get_if<PrefixConfig>(&method)) return {.prefix = prefix->length};
  return {};
}

std::string DescribeMethod(const MethodConfig& method) {
  return std::visit([](const auto& settings) { return Describe(settings); }, method);
}

Status CheckExampleGradients(const MethodConfig& method) {
  if (std::visit([](const auto& config) { return HasExampleGradients(config); }, method)) return OkStatus();
  return Unimplemented("gradients of single examples: got " + DescribeMethod(method) +
                       ", want lora, adalora, ia3, adapter (without phm_dim), prefix or prompt (without an encoder), "
                       "bitfit or norm");
}

double BranchDropout(const MethodConfig& method) {
  if (const auto* adalora = std::get_if<AdaLoraConfig>(&method)) return adalora->lora.dropout;
  const auto* lora = std::get_if<LoraConfig>(&method);
  return lora != nullptr ? lora->dropout : 0;
}

}  // namespace fedpeft
