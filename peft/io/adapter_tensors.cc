#include "peft/io/adapter_tensors.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "peft/io/quote.h"
#include "peft/params/layout.h"

namespace fedpeft {

namespace {

using Kind = AdapterName::Kind;

struct Pair {
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
  const TensorView* magnitude = nullptr;
  const TensorView* e = nullptr;
  bool embedding = false;
};

/// peft takes the keys of a pattern as regular expressions; a module path is one that matches itself, and only such are
/// taken here, so that a hostile file brings no expression to run. Keys that disagree about a module are refused.
template <typename T>
Result<T> PatternValue(const char* key, const std::map<std::string, T>& pattern, std::string_view module, T otherwise) {
  std::optional<T> found;
  for (const auto& [name, value] : pattern) {
    if (name.find_first_of("\\^$|?*+()[]{}") != std::string::npos) {
      return Unimplemented(std::string(key) + ": key " + Quoted(name) +
                           " is a regular expression, want a module path (write one key a module)");
    }
    if (!MatchesModule(module, name)) continue;
    if (found && *found != value) {
      return InvalidArgument(std::string(key) + ": has different values for module " + Quoted(module));
    }
    found = value;
  }
  return found.value_or(otherwise);
}

bool MatchesAny(std::string_view path, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [path](const std::string& name) { return MatchesModule(path, name); });
}

/// What a file's names say it holds.
struct Sorted {
  /// By path.
  std::map<std::string_view, Pair> pairs;
  /// The modules of (IA)³, norms, sparse tuning or LLaMA-Adapter, once for each tensor.
  std::vector<std::string_view> modules;
  const TensorView* virtual_tokens = nullptr;
  /// Everything else.
  std::vector<std::string_view> others;
};

Status Sort(const TensorMap& tensors, const AdapterConfig& config, Sorted& sorted) {
  for (const auto& [name, tensor] : tensors) {
    ASSIGN_OR_RETURN(const AdapterName parsed, ParseAdapterName(name, config));
    if (parsed.kind == Kind::kOther) sorted.others.push_back(parsed.path);
    const bool of_module = parsed.kind == Kind::kIa3 || parsed.kind == Kind::kNorm || parsed.kind == Kind::kSparse ||
                           parsed.kind == Kind::kGated;
    if (of_module) sorted.modules.push_back(parsed.path);
    if (parsed.kind == Kind::kVirtualTokens) sorted.virtual_tokens = &tensor;
    const bool of_pair = parsed.kind <= Kind::kEmbeddingB;
    if (!of_pair) continue;
    Pair& pair = sorted.pairs[parsed.path];
    if (parsed.kind == Kind::kMagnitude) {
      pair.magnitude = &tensor;
      continue;
    }
    if (parsed.kind == Kind::kE) {
      pair.e = &tensor;
      continue;
    }
    const bool is_a = parsed.kind == Kind::kA || parsed.kind == Kind::kEmbeddingA;
    const bool embedding = parsed.kind == Kind::kEmbeddingA || parsed.kind == Kind::kEmbeddingB;
    if ((pair.a != nullptr || pair.b != nullptr) && pair.embedding != embedding) {
      return InvalidArgument("module " + Quoted(parsed.path) + " has both lora_A/B and lora_embedding_A/B");
    }
    pair.embedding = embedding;
    (is_a ? pair.a : pair.b) = &tensor;
  }
  return OkStatus();
}

Result<LoraModule> CheckPair(const AdapterConfig& config, std::string_view path, const Pair& pair) {
  if (pair.a == nullptr || pair.b == nullptr) {
    return InvalidArgument("module " + Quoted(path) + " lacks its tensor lora_" + (pair.a == nullptr ? "A" : "B"));
  }
  ASSIGN_OR_RETURN(const std::int64_t rank, PatternValue("rank_pattern", config.rank_pattern, path, config.r));
  ASSIGN_OR_RETURN(const double alpha, PatternValue("alpha_pattern", config.alpha_pattern, path, config.lora_alpha));
  if (rank < 1)
    return InvalidArgument("module " + Quoted(path) + ": r is " + std::to_string(rank) + ", want at least 1");
  if (!std::isfinite(alpha)) return InvalidArgument("module " + Quoted(path) + ": alpha is not finite");
  const auto check = [rank](const TensorView& tensor, std::size_t rank_axis) {
    if (tensor.shape.size() == 2 && tensor.shape[rank_axis] == rank) return OkStatus();
    return InvalidArgument("tensor " + Quoted(tensor.name) + " has shape " + ShapeText(tensor.shape) + ", want two " +
                           "dimensions, number " + std::to_string(rank_axis + 1) + " of them " + std::to_string(rank));
  };
  RETURN_IF_ERROR(check(*pair.a, 0));
  RETURN_IF_ERROR(check(*pair.b, 1));
  if ((pair.magnitude != nullptr) != config.use_dora) {
    return InvalidArgument("module " + Quoted(path) + (config.use_dora ? " lacks" : " has") +
                           " a tensor lora_magnitude_vector, which use_dora calls for");
  }
  if (config.use_dora && pair.magnitude->shape != Shape{pair.b->shape[0]}) {
    return InvalidArgument("tensor " + Quoted(pair.magnitude->name) + " has shape " + ShapeText(pair.magnitude->shape) +
                           ", want [" + std::to_string(pair.b->shape[0]) + "]");
  }
  const auto r = static_cast<double>(rank);
  return LoraModule{std::string(path), pair.embedding, rank, alpha, alpha / (config.use_rslora ? std::sqrt(r) : r)};
}

/// The ranks of a module of AdaLoRA that the file has, which may be none.
Result<LoraModule> CheckTriplet(const AdapterConfig& config, std::string_view path, const Pair& triplet) {
  if (triplet.a == nullptr || triplet.b == nullptr || triplet.e == nullptr) {
    return InvalidArgument("module " + Quoted(path) + " lacks one of its tensors lora_A, lora_B and lora_E");
  }
  std::int64_t rank = config.r;
  if (const auto mask = config.rank_masks.find(std::string(path)); mask != config.rank_masks.end()) {
    rank = std::count(mask->second.begin(), mask->second.end(), true);
  }
  if (triplet.a->shape.size() != 2 || triplet.b->shape.size() != 2) {
    return InvalidArgument("module " + Quoted(path) + ": its lora_A and lora_B want two dimensions");
  }
  RETURN_IF_ERROR(CheckShape(*triplet.a, {rank, triplet.a->shape[1]}));
  RETURN_IF_ERROR(CheckShape(*triplet.e, {rank, 1}));
  RETURN_IF_ERROR(CheckShape(*triplet.b, {triplet.b->shape[0], rank}));
  if (!(std::isfinite(config.lora_alpha) && config.lora_alpha > 0)) {
    return InvalidArgument("lora_alpha: got " + std::to_string(config.lora_alpha) + ", want a positive number");
  }
  return LoraModule{std::string(path), false, rank, config.lora_alpha,
                    config.lora_alpha / (static_cast<double>(config.r) + 1e-5)};
}

Status CheckTargets(const AdapterConfig& config, const std::vector<std::string_view>& modules) {
  for (const std::string_view module : modules) {
    if (!MatchesAny(module, config.target_modules)) {
      return InvalidArgument("module " + Quoted(module) + " is in none of target_modules");
    }
  }
  for (const std::string& target : config.target_modules) {
    if (std::none_of(modules.begin(), modules.end(),
                     [&](std::string_view module) { return MatchesModule(module, target); })) {
      return InvalidArgument("target_modules: no tensor belongs to " + Quoted(target));
    }
  }
  return OkStatus();
}

Status CheckSaved(const AdapterConfig& config, const std::vector<std::string_view>& others) {
  const std::vector<std::string>& saved = config.modules_to_save;
  for (const std::string_view parameter : others) {
    if (std::none_of(saved.begin(), saved.end(), [&](const std::string& name) { return IsWithin(parameter, name); })) {
      return InvalidArgument("tensor " + Quoted(parameter) + " belongs neither to LoRA nor to modules_to_save");
    }
  }
  for (const std::string& name : saved) {
    if (std::none_of(others.begin(), others.end(), [&](std::string_view other) { return IsWithin(other, name); })) {
      return InvalidArgument("modules_to_save: no tensor belongs to " + Quoted(name));
    }
  }
  if (config.task_type == "SEQ_CLS" && !std::any_of(saved.begin(), saved.end(), [](const std::string& name) {
        return MatchesModule(name, "classifier") || MatchesModule(name, "score");
      })) {
    return InvalidArgument(
        "task_type SEQ_CLS: modules_to_save has neither classifier nor score, which peft would miss");
  }
  return OkStatus();
}

}  // namespace

bool MatchesModule(std::string_view path, std::string_view name) {
  if (!path.ends_with(name)) return false;
  return path.size() == name.size() || path[path.size() - name.size() - 1] == '.';
}

bool IsWithin(std::string_view parameter, std::string_view module) {
  for (std::size_t dot = parameter.rfind('.'); dot != std::string_view::npos && dot > 0;
       dot = parameter.rfind('.', dot - 1)) {
    if (MatchesModule(parameter.substr(0, dot), module)) return true;
  }
  return false;
}

Result<AdapterName> ParseAdapterName(std::string_view name, const AdapterConfig& config) {
  constexpr std::pair<std::string_view, Kind> kLora[] = {{".lora_A.weight", Kind::kA},
                                                         {".lora_B.weight", Kind::kB},
                                                         {".lora_magnitude_vector", Kind::kMagnitude},
                                                         {".lora_embedding_A", Kind::kEmbeddingA},
                                                         {".lora_embedding_B", Kind::kEmbeddingB}};
  constexpr std::pair<std::string_view, Kind> kAdaLora[] = {
      {".lora_A", Kind::kA}, {".lora_B", Kind::kB}, {".lora_E", Kind::kE}};
  constexpr std::pair<std::string_view, Kind> kIa3[] = {{".ia3_l", Kind::kIa3}};
  constexpr std::pair<std::string_view, Kind> kNorms[] = {{".ln_tuning_layers.weight", Kind::kNorm},
                                                          {".ln_tuning_layers.bias", Kind::kNorm}};
  constexpr std::pair<std::string_view, Kind> kSparse[] = {{".sparse_values", Kind::kSparse}};
  constexpr std::pair<std::string_view, Kind> kGated[] = {{".adaption_prompt", Kind::kGated},
                                                          {".adaption_gate", Kind::kGated}};
  if (config.is_prompt_learning() && name == "prompt_embeddings") return AdapterName{Kind::kVirtualTokens, name};
  const std::string_view prefix = config.is_prompt_learning() ? "base_model." : "base_model.model.";
  if (!name.starts_with(prefix)) {
    return InvalidArgument("tensor " + Quoted(name) + ": the name does not begin with " + std::string(prefix));
  }
  const std::string_view path = name.substr(prefix.size());
  std::span<const std::pair<std::string_view, Kind>> suffixes;
  if (config.peft_type == PeftType::kLora) suffixes = kLora;
  if (config.peft_type == PeftType::kAdaLora) suffixes = kAdaLora;
  if (config.peft_type == PeftType::kIa3) suffixes = kIa3;
  if (config.peft_type == PeftType::kLnTuning) suffixes = kNorms;
  if (config.peft_type == PeftType::kSparse) suffixes = kSparse;
  if (config.is_llama_adapter()) suffixes = kGated;
  for (const auto& [suffix, kind] : suffixes) {
    if (path.ends_with(suffix)) return AdapterName{kind, path.substr(0, path.size() - suffix.size())};
  }
  return AdapterName{Kind::kOther, path};
}

namespace {

Result<std::vector<LoraModule>> CheckLora(const AdapterConfig& config, const Sorted& sorted) {
  if (sorted.pairs.empty()) return InvalidArgument("has no lora_A and lora_B tensors");
  std::vector<LoraModule> modules;
  std::vector<std::string_view> paths;
  for (const auto& [path, pair] : sorted.pairs) {
    const bool triplets = config.peft_type == PeftType::kAdaLora;
    ASSIGN_OR_RETURN(LoraModule module, triplets ? CheckTriplet(config, path, pair) : CheckPair(config, path, pair));
    modules.push_back(std::move(module));
    paths.push_back(path);
  }
  RETURN_IF_ERROR(CheckTargets(config, paths));
  return modules;
}

Status CheckVirtualTokens(const AdapterConfig& config, const TensorView* tensor) {
  if (tensor == nullptr) return InvalidArgument("has no tensor \"prompt_embeddings\"");
  const bool prefix = config.peft_type == PeftType::kPrefixTuning;
  const Shape want = {config.num_virtual_tokens, prefix ? config.num_layers * 2 * config.token_dim : config.token_dim};
  return CheckShape(*tensor, want);
}

}  // namespace

Result<std::vector<LoraModule>> CheckTensors(const AdapterConfig& config, const TensorMap& tensors) {
  Sorted sorted;
  RETURN_IF_ERROR(Sort(tensors, config, sorted));
  std::vector<LoraModule> modules;
  switch (config.peft_type) {
    case PeftType::kLora:
    case PeftType::kAdaLora: {
      ASSIGN_OR_RETURN(modules, CheckLora(config, sorted));
      break;
    }
    case PeftType::kIa3:
    case PeftType::kLnTuning:
    case PeftType::kSparse:
    case PeftType::kAdaptionPrompt:
    case PeftType::kLlamaAdapter:
      if (sorted.modules.empty()) return InvalidArgument("has no tensors of its method");
      RETURN_IF_ERROR(CheckTargets(config, sorted.modules));
      break;
    case PeftType::kPrefixTuning:
    case PeftType::kPromptTuning:
      RETURN_IF_ERROR(CheckVirtualTokens(config, sorted.virtual_tokens));
      break;
    case PeftType::kBottleneck:
    case PeftType::kBitFit:
    case PeftType::kFull:
      return modules;
  }
  RETURN_IF_ERROR(CheckSaved(config, sorted.others));
  return modules;
}

}  // namespace fedpeft
