#include "configs/adapter_method.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace fedpeft {

namespace {

/// In the order of BottleneckConfig::Kind.
constexpr std::array<std::string_view, 3> kKinds = {"houlsby", "pfeiffer", "parallel"};

/// All modules by their paths; those that differ from the configuration's rank and alpha have a pattern.
Result<MethodConfig> LoraOf(const AdapterFolder& adapter) {
  LoraConfig lora;
  lora.rank = adapter.config.r;
  lora.alpha = adapter.config.lora_alpha;
  lora.dropout = adapter.config.lora_dropout;
  lora.use_rslora = adapter.config.use_rslora;
  lora.use_dora = adapter.config.use_dora;
  for (const LoraModule& module : adapter.modules) {
    if (module.embedding) {
      return Unimplemented("module " + module.path + ": is an adapted embedding, want a linear");
    }
    if (module.alpha <= 0) {
      return InvalidArgument("module " + module.path + ": alpha is " + std::to_string(module.alpha) +
                             ", want a positive number");
    }
    lora.target_modules.push_back(module.path);
    if (module.rank != lora.rank || module.alpha != lora.alpha) {
      lora.patterns.push_back({module.path, module.rank, module.alpha});
    }
  }
  return MethodConfig(lora);
}

MethodConfig AdaLoraOf(const AdapterFolder& adapter) {
  AdaLoraConfig adalora;
  adalora.lora.rank = adapter.config.r;
  adalora.lora.alpha = adapter.config.lora_alpha;
  adalora.lora.dropout = adapter.config.lora_dropout;
  for (const LoraModule& module : adapter.modules) adalora.lora.target_modules.push_back(module.path);
  adalora.target_rank = std::clamp<std::int64_t>(adapter.config.target_r, 1, adapter.config.r);
  adalora.beta1 = adapter.config.beta1;
  adalora.beta2 = adapter.config.beta2;
  adalora.orthogonality = adapter.config.orth_reg_weight;
  return adalora;
}

Result<MethodConfig> BottleneckOf(const AdapterConfig& config) {
  BottleneckConfig adapter;
  adapter.size = config.size;
  adapter.scale = config.scale;
  adapter.phm_dim = config.phm_dim;
  adapter.phm_rank = config.phm_rank;
  const auto kind = std::find(kKinds.begin(), kKinds.end(), config.kind);
  if (kind == kKinds.end()) return InvalidArgument("kind: got \"" + config.kind + "\", want one of our kinds");
  adapter.kind = static_cast<BottleneckConfig::Kind>(kind - kKinds.begin());
  ASSIGN_OR_RETURN(adapter.activation, ActivationOf(config.activation));
  return MethodConfig(adapter);
}

/// Whether peft's LLaMA-Adapter gives the same. Its output linear is outside of attention: of GPT-2 it is left out, and
/// a bias in it is added twice; its heads have the width that makes the base's; other families it does not know.
bool GatesAsPeft(const BaseShape& base) {
  const bool known = base.model_type == "llama" || base.model_type == "mistral";
  return known && !base.attention_bias && base.num_attention_heads * base.head_width() == base.hidden_size;
}

Result<MethodConfig> LlamaAdapterOf(const AdapterConfig& config, const BaseShape& base) {
  if (config.peft_type == PeftType::kAdaptionPrompt && !GatesAsPeft(base)) {
    return Unimplemented("peft_type: got ADAPTION_PROMPT of this " + base.model_type +
                         " base, of which peft computes something else (want llama without attention_bias, or mistral, "
                         "whose heads together are as wide as the base)");
  }
  return MethodConfig(LlamaAdapterConfig{config.adapter_len, config.adapter_layers});
}

}  // namespace

Result<MethodConfig> MethodOf(const AdapterFolder& adapter, const BaseShape& base) {
  const AdapterConfig& config = adapter.config;
  switch (config.peft_type) {
    case PeftType::kLora:
      return LoraOf(adapter);
    case PeftType::kAdaLora:
      return AdaLoraOf(adapter);
    case PeftType::kIa3:
      return MethodConfig(Ia3Config{config.target_modules, config.feedforward_modules});
    case PeftType::kPrefixTuning:
      return MethodConfig(PrefixConfig{config.num_virtual_tokens});
    case PeftType::kPromptTuning:
      return MethodConfig(PromptConfig{config.num_virtual_tokens});
    case PeftType::kLnTuning:
      return MethodConfig(OffsetConfig{OffsetConfig::What::kNorms});
    case PeftType::kAdaptionPrompt:
    case PeftType::kLlamaAdapter:
      return LlamaAdapterOf(config, base);
    case PeftType::kBottleneck:
      return BottleneckOf(config);
    case PeftType::kBitFit:
      return MethodConfig(OffsetConfig{OffsetConfig::What::kBiases});
    case PeftType::kFull:
      return MethodConfig(OffsetConfig{OffsetConfig::What::kAll});
    case PeftType::kSparse:
      return MethodConfig(SparseConfig{config.density, config.target_modules, config.seed});
  }
  return Internal("peft_type: is not known");
}

namespace {

/// What LoRA and AdaLoRA say alike of the linears they adapt.
void DescribeLowRank(const PeftPlan& plan, const LoraConfig& lora, const std::vector<LoraSite>& sites,
                     AdapterConfig& config) {
  config.r = lora.rank;
  config.lora_alpha = lora.alpha;
  config.lora_dropout = lora.dropout;
  config.target_modules =
      PeftTargets(plan, lora.target_modules.empty() ? DefaultTargets(plan.base) : lora.target_modules);
  for (const LoraSite& one : sites) config.fan_in_fan_out = config.fan_in_fan_out || one.site.transposed;
}

void Describe(const PeftPlan& plan, const LoraConfig& lora, AdapterConfig& config) {
  const std::vector<LoraSite> sites = LoraSites(plan.base, lora).value();
  DescribeLowRank(plan, lora, sites, config);
  config.use_rslora = lora.use_rslora;
  config.use_dora = lora.use_dora;
  for (const LoraSite& one : sites) {
    if (one.rank != lora.rank) config.rank_pattern[one.site.path] = one.rank;
    if (one.alpha != lora.alpha) config.alpha_pattern[one.site.path] = one.alpha;
  }
}

void Describe(const PeftPlan& plan, const AdaLoraConfig& adalora, AdapterConfig& config) {
  config.peft_type = PeftType::kAdaLora;
  DescribeLowRank(plan, adalora.lora, AdaLoraSites(plan.base, adalora).value(), config);
  config.target_r = adalora.target_rank;
  config.beta1 = adalora.beta1;
  config.beta2 = adalora.beta2;
  config.orth_reg_weight = adalora.orthogonality;
}

void Describe(const PeftPlan& plan, const Ia3Config& ia3, AdapterConfig& config) {
  config.peft_type = PeftType::kIa3;
  const std::vector<std::string> words = ia3.target_modules.empty() ? DefaultIa3Targets(plan.base) : ia3.target_modules;
  config.target_modules = PeftTargets(plan, words);
  const bool paths = config.target_modules != words;
  if (!paths) {
    config.feedforward_modules =
        ia3.target_modules.empty() ? DefaultIa3FeedForward(plan.base) : ia3.feedforward_modules;
  }
  const std::vector<Ia3Site> sites = Ia3Sites(plan.base, ia3).value();
  for (const Ia3Site& one : sites) {
    config.fan_in_fan_out = config.fan_in_fan_out || one.site.transposed;
    if (paths && one.scales_input) config.feedforward_modules.push_back(one.site.path);
  }
}

void Describe(const PeftPlan&, const BottleneckConfig& adapter, AdapterConfig& config) {
  config.peft_type = PeftType::kBottleneck;
  config.kind = kKinds[static_cast<std::size_t>(adapter.kind)];
  config.size = adapter.size;
  config.activation = ActivationName(adapter.activation);
  config.scale = adapter.scale;
  config.phm_dim = adapter.phm_dim;
  config.phm_rank = adapter.phm_rank;
}

void Describe(const PeftPlan& plan, const PrefixConfig& prefix, AdapterConfig& config) {
  config.peft_type = PeftType::kPrefixTuning;
  config.num_virtual_tokens = prefix.length;
  config.num_layers = plan.base.num_hidden_layers;
  config.num_attention_heads = plan.base.kv_heads();
  config.token_dim = plan.base.kv_heads() * plan.base.head_width();
}

void Describe(const PeftPlan& plan, const PromptConfig& prompt, AdapterConfig& config) {
  config.peft_type = PeftType::kPromptTuning;
  config.num_virtual_tokens = prompt.length;
  config.num_layers = plan.base.num_hidden_layers;
  config.num_attention_heads = plan.base.num_attention_heads;
  config.token_dim = plan.base.hidden_size;
}

void Describe(const PeftPlan& plan, const LlamaAdapterConfig& adapter, AdapterConfig& config) {
  const BaseShape& base = plan.base;
  config.peft_type = GatesAsPeft(base) ? PeftType::kAdaptionPrompt : PeftType::kLlamaAdapter;
  config.adapter_len = adapter.length;
  config.adapter_layers = base.num_hidden_layers - FirstAdaptedLayer(base, adapter).value();
  const BaseSites sites = SitesOf(base);
  const std::string& path = sites.attentions.front().path;
  config.target_modules = {path.substr(path.rfind('.') + 1)};
}

void Describe(const PeftPlan& plan, const OffsetConfig& offset, AdapterConfig& config) {
  constexpr PeftType kTypes[] = {PeftType::kBitFit, PeftType::kLnTuning, PeftType::kFull};
  config.peft_type = kTypes[static_cast<int>(offset.what)];
  if (config.peft_type != PeftType::kLnTuning) return;
  const BaseSites sites = SitesOf(plan.base);
  for (const NormSite& norm : sites.norms) config.target_modules.push_back(norm.path);
}

void Describe(const PeftPlan& plan, const SparseConfig& sparse, AdapterConfig& config) {
  config.peft_type = PeftType::kSparse;
  config.density = sparse.density;
  config.seed = sparse.seed;
  config.target_modules = PeftTargets(plan, sparse.target_modules);
}

}  // namespace

void WriteMethod(const PeftPlan& plan, AdapterConfig& config) {
  std::visit([&](const auto& method) { Describe(plan, method, config); }, plan.method);
}

bool ComputeAlike(const PeftPlan& a, const PeftPlan& b) {
  if (a.method.index() != b.method.index()) return false;
  if (const auto* lora = std::get_if<LoraConfig>(&a.method)) {
    const LoraConfig& other = std::get<LoraConfig>(b.method);
    const auto scales = [](const BaseShape& base, const LoraConfig& config) {
      std::vector<double> values;
      const std::vector<LoraSite> sites = LoraSites(base, config).value();
      for (const LoraSite& site : sites) values.push_back(site.scale);
      return values;
    };
    return scales(a.base, *lora) == scales(b.base, other);
  }
  if (const auto* adalora = std::get_if<AdaLoraConfig>(&a.method)) {
    return adalora->lora.alpha == std::get<AdaLoraConfig>(b.method).lora.alpha;
  }
  if (const auto* adapter = std::get_if<BottleneckConfig>(&a.method)) {
    const BottleneckConfig& other = std::get<BottleneckConfig>(b.method);
    return adapter->kind == other.kind && adapter->activation == other.activation && adapter->scale == other.scale;
  }
  if (const auto* sparse = std::get_if<SparseConfig>(&a.method)) {
    return sparse->seed == std::get<SparseConfig>(b.method).seed;
  }
  return true;
}

}  // namespace fedpeft
