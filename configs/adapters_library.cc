#include "configs/adapters_library.h"

#include <algorithm>
#include <array>

#include "configs/adapter.h"
#include "peft/io/adapters_library.h"

namespace fedpeft {

namespace {

constexpr const char* kAdapterName = "fedpeft";

struct Family {
  std::string_view model_type;
  /// transformers' classes, but for the task.
  const char* model;
  const char* language_model = "ForCausalLM";
  /// Adapters are in the module of the sublayer's last linear, and not in the layer.
  bool in_output = false;
};
constexpr std::array<Family, 6> kFamilies = {{{"bert", "Bert", "", true},
                                              {"roberta", "Roberta", "", true},
                                              {"distilbert", "DistilBert", ""},
                                              {"gpt2", "GPT2", "LMHeadModel"},
                                              {"llama", "Llama"},
                                              {"mistral", "Mistral"}}};

Result<Family> FamilyOf(const BaseShape& base) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (family.model_type == base.model_type) return family;
    known.append(known.empty() ? "" : ", ").append(family.model_type);
  }
  return Unimplemented("a folder of the adapters library: the base is " + base.model_type + ", want one of " + known);
}

/// The module of a sublayer's adapters: beside its last linear (`….output.dense`), or in the layer.
std::string ModuleOf(const SublayerSite& site, const Family& family) {
  if (family.in_output) return site.path.substr(0, site.path.rfind('.')) + ".adapters.";
  const std::string layer = "." + std::to_string(site.layer) + ".";
  const std::string prefix = site.path.substr(0, site.path.find(layer) + layer.size());
  return prefix + (site.feed_forward ? "output_adapters" : "attention_adapters") + ".adapters.";
}

std::string Suffix(const TensorSpec& spec) {
  std::string suffix = spec.name.substr(PeftName(spec.site, "").size());
  // The first of a sequence: linear, activation.
  constexpr std::string_view kDown = "adapter_down.";
  if (suffix.starts_with(kDown)) suffix.insert(kDown.size(), "0.");
  return suffix;
}

}  // namespace

Result<std::string> LibraryName(const TensorSpec& spec, const BaseShape& base, const std::string& adapter) {
  ASSIGN_OR_RETURN(const Family family, FamilyOf(base));
  if (spec.role == Role::kHead) return spec.name.substr(PeftName("", "").size() - 1);
  if (spec.name == PeftName("shared_parameters", "phm_rule")) {
    return spec.site.substr(0, spec.site.find('.')) + ".shared_parameters." + adapter + ".phm_rule";
  }
  const BaseSites sites = SitesOf(base);
  const auto site = std::find_if(sites.sublayers.begin(), sites.sublayers.end(),
                                 [&](const SublayerSite& one) { return one.path == spec.site; });
  FEDPEFT_CHECK(site != sites.sublayers.end());
  return ModuleOf(*site, family) + adapter + "." + Suffix(spec);
}

Status CheckLibraryExport(const PeftPlan& plan) {
  if (!std::holds_alternative<BottleneckConfig>(plan.method)) {
    return Unimplemented("a folder of the adapters library: the method is " + DescribeMethod(plan.method) +
                         ", want adapters (peft.method: adapter)");
  }
  return FamilyOf(plan.base).status();
}

Status ExportLibraryAdapter(const RunSpec& run, const ParamVector& params, const std::string& folder,
                            const StringMap& provenance) {
  RETURN_IF_ERROR(CheckLibraryExport(run.plan));
  ASSIGN_OR_RETURN(const Family family, FamilyOf(run.plan.base));
  AdapterConfig config = DescribeAdapter(run);
  config.adapter_name = kAdapterName;
  config.labels = run.problem.labels;
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  const LibraryModel model{run.plan.base.model_type,
                           std::string(family.model) + (language ? family.language_model : "ForSequenceClassification"),
                           run.plan.base.hidden_size, run.plan.labels};
  ASSIGN_OR_RETURN(StringMap metadata, AdapterMetadata(run));
  metadata.insert(provenance.begin(), provenance.end());
  std::vector<TensorView> adapter, head;
  const std::vector<TensorSpec>& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    ASSIGN_OR_RETURN(std::string name, LibraryName(specs[i], run.plan.base, config.adapter_name));
    std::vector<TensorView>& of = specs[i].role == Role::kHead ? head : adapter;
    of.push_back(FloatView(std::move(name), specs[i].shape, params.tensor(i)));
  }
  return WriteLibraryFolder(folder, config, model, adapter, head, metadata);
}

}  // namespace fedpeft
