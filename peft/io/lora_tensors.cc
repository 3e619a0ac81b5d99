#include "peft/io/lora_tensors.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "peft/io/quote.h"
#include "peft/params/layout.h"

namespace fedpeft {

namespace {

using Kind = AdapterName::Kind;

struct Pair {
  const TensorView* a = nullptr;
  const TensorView* b = nullptr;
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

/// The pairs by path, and the names of everything else.
Status Sort(const TensorMap& tensors, std::map<std::string_view, Pair>& pairs, std::vector<std::string_view>& others) {
  for (const auto& [name, tensor] : tensors) {
    ASSIGN_OR_RETURN(const AdapterName parsed, ParseAdapterName(name));
    if (parsed.kind == Kind::kOther) {
      others.push_back(parsed.path);
      continue;
    }
    Pair& pair = pairs[parsed.path];
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

Result<LoraModule> CheckPair(const LoraAdapterConfig& config, std::string_view path, const Pair& pair) {
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
  const auto r = static_cast<double>(rank);
  return LoraModule{std::string(path), pair.embedding, rank, alpha / (config.use_rslora ? std::sqrt(r) : r)};
}

Status CheckTargets(const LoraAdapterConfig& config, const std::vector<LoraModule>& modules) {
  for (const LoraModule& module : modules) {
    if (!MatchesAny(module.path, config.target_modules)) {
      return InvalidArgument("module " + Quoted(module.path) + " is in none of target_modules");
    }
  }
  for (const std::string& target : config.target_modules) {
    if (std::none_of(modules.begin(), modules.end(),
                     [&](const LoraModule& m) { return MatchesModule(m.path, target); })) {
      return InvalidArgument("target_modules: no tensor belongs to " + Quoted(target));
    }
  }
  return OkStatus();
}

Status CheckSaved(const LoraAdapterConfig& config, const std::vector<std::string_view>& others) {
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

Result<AdapterName> ParseAdapterName(std::string_view name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  constexpr std::pair<std::string_view, Kind> kSuffixes[] = {{".lora_A.weight", Kind::kA},
                                                             {".lora_B.weight", Kind::kB},
                                                             {".lora_embedding_A", Kind::kEmbeddingA},
                                                             {".lora_embedding_B", Kind::kEmbeddingB}};
  if (!name.starts_with(kPrefix)) {
    return InvalidArgument("tensor " + Quoted(name) + ": the name does not begin with base_model.model.");
  }
  const std::string_view path = name.substr(kPrefix.size());
  for (const auto& [suffix, kind] : kSuffixes) {
    if (path.ends_with(suffix)) return AdapterName{kind, path.substr(0, path.size() - suffix.size())};
  }
  return AdapterName{Kind::kOther, path};
}

Result<std::vector<LoraModule>> CheckLoraTensors(const LoraAdapterConfig& config, const TensorMap& tensors) {
  std::map<std::string_view, Pair> pairs;
  std::vector<std::string_view> others;
  RETURN_IF_ERROR(Sort(tensors, pairs, others));
  if (pairs.empty()) return InvalidArgument("has no lora_A and lora_B tensors");
  std::vector<LoraModule> modules;
  for (const auto& [path, pair] : pairs) {
    ASSIGN_OR_RETURN(LoraModule module, CheckPair(config, path, pair));
    modules.push_back(std::move(module));
  }
  RETURN_IF_ERROR(CheckTargets(config, modules));
  RETURN_IF_ERROR(CheckSaved(config, others));
  return modules;
}

}  // namespace fedpeft
