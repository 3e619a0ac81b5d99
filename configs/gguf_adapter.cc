#include "configs/gguf_adapter.h"

#include <algorithm>
#include <vector>

#include "peft/io/gguf.h"

namespace fedpeft {

namespace {

struct Architecture {
  std::string_view model_type;
  /// As llama.cpp calls it, for which a Mistral is a Llama.
  const char* name;
  /// Whether its converter brings the halves that rotary positions turn next to each other.
  bool permutes = false;
};

constexpr Architecture kArchitectures[] = {
    {"llama", "llama", true}, {"mistral", "llama", true}, {"qwen2", "qwen2"}, {"qwen3", "qwen3"}, {"gpt2", "gpt2"}};

/// The last parts of a linear's path, and what llama.cpp calls it.
constexpr std::pair<std::string_view, std::string_view> kLinears[] = {
    {"self_attn.q_proj", "attn_q"}, {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},  {"attn.c_attn", "attn_qkv"},
    {"attn.c_proj", "attn_output"}, {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"}};

Result<std::string> NameOf(const Site& site) {
  for (const auto& [path, name] : kLinears) {
    if (site.path.ends_with(path)) return "blk." + std::to_string(site.layer) + "." + std::string(name) + ".weight";
  }
  return Unimplemented(site.path + ": llama.cpp has no place for it");
}

Result<const Architecture*> ArchitectureOf(const RunSpec& run) {
  const auto* found = std::find_if(std::begin(kArchitectures), std::end(kArchitectures),
                                   [&](const Architecture& row) { return row.model_type == run.plan.base.model_type; });
  if (found == std::end(kArchitectures)) {
    return Unimplemented("gguf: the base is an encoder (" + run.plan.base.model_type + "), want a decoder's adapter");
  }
  if (run.problem.type != ProblemType::kLanguageModelling) {
    return Unimplemented(
        "gguf: the adapter has a classification head, for which the format has no place (want one of a "
        "language model)");
  }
  return found;
}

/// Rows of each head, (first half, second half) → pairs of the two.
std::vector<float> Permuted(std::span<const float> rows, std::size_t heads, std::size_t columns) {
  const std::size_t width = rows.size() / columns / heads, half = width / 2;
  std::vector<float> out(rows.size());
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t i = 0; i < width; ++i) {
      const std::size_t from = head * width + i, to = head * width + 2 * (i % half) + i / half;
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(from * columns), columns,
                  out.begin() + static_cast<std::ptrdiff_t>(to * columns));
    }
  }
  return out;
}

std::span<const float> Get(const ParamVector& params, const std::string& name) {
  return params.tensor(params.layout()->Find(name).value());
}

/// B with what the file's alpha does not say of its scale.
std::vector<float> Folded(const RunSpec& run, const LoraConfig& lora, const LoraSite& site, std::span<const float> b,
                          bool permutes) {
  const double factor = site.scale * static_cast<double>(site.rank) / lora.alpha;
  std::vector<float> values(b.size());
  std::transform(b.begin(), b.end(), values.begin(), [&](float v) { return static_cast<float>(v * factor); });
  const BaseShape& base = run.plan.base;
  const bool queries = site.site.path.ends_with(".q_proj"), keys = site.site.path.ends_with(".k_proj");
  if (!permutes || !(queries || keys)) return values;
  const std::int64_t heads = queries ? base.num_attention_heads : base.kv_heads();
  return Permuted(values, static_cast<std::size_t>(heads), static_cast<std::size_t>(site.rank));
}

}  // namespace

Status ExportGgufAdapter(const RunSpec& run, const ParamVector& params, const std::string& path) {
  ASSIGN_OR_RETURN(const Architecture* architecture, ArchitectureOf(run));
  const auto* lora = std::get_if<LoraConfig>(&run.plan.method);
  if (lora == nullptr || lora->use_dora) {
    return Unimplemented("gguf: the method is " + DescribeMethod(run.plan.method) +
                         ", and the format holds LoRA alone (merge it into the base instead: fedpeft-client merge)");
  }
  ASSIGN_OR_RETURN(const std::vector<LoraSite> sites, LoraSites(run.plan.base, *lora));
  std::vector<std::vector<float>> folded;
  std::vector<GgufTensor> tensors;
  folded.reserve(sites.size());
  for (const LoraSite& site : sites) {
    ASSIGN_OR_RETURN(const std::string name, NameOf(site.site));
    const std::string& at = site.site.path;
    folded.push_back(Folded(run, *lora, site, Get(params, PeftName(at, "lora_B.weight")), architecture->permutes));
    tensors.push_back({name + ".lora_a", {site.rank, site.site.in}, Get(params, PeftName(at, "lora_A.weight"))});
    tensors.push_back({name + ".lora_b", {site.site.out, site.rank}, folded.back()});
  }
  const GgufEntries entries = {{"general.architecture", std::string(architecture->name)},
                               {"general.type", std::string("adapter")},
                               {"general.name", run.name.empty() ? run.base_name : run.name},
                               {"adapter.type", std::string("lora")},
                               {"adapter.lora.alpha", static_cast<float>(lora->alpha)}};
  return WriteGguf(path, entries, tensors);
}

}  // namespace fedpeft
