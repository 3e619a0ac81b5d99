#include "peft/method/adapter_hook.h"

#include <algorithm>

#include "peft/method/lora.h"
#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

Status CheckTask(const LoraAdapterConfig& config) {
  if (!config.task_type.empty() && config.task_type != "CAUSAL_LM") {
    return FailedPrecondition("task_type: got " + config.task_type + ", want CAUSAL_LM (it was trained for that task)");
  }
  if (!config.modules_to_save.empty()) {
    return FailedPrecondition("modules_to_save: got " + config.modules_to_save.front() +
                              ", want none (only low-rank branches can be put on a base's language model)");
  }
  return OkStatus();
}

Result<torch::Tensor> TakeTensor(const SafetensorsFile& file, const std::string& name, const Shape& shape) {
  const auto found = file.tensors().find(name);
  FEDPEFT_CHECK(found != file.tensors().end());  // ReadAdapterFolder's promise
  const Status fits = CheckShape(found->second, shape);
  if (!fits.ok()) return fits;
  torch::Tensor tensor = torch::empty(shape, torch::kFloat32);
  RETURN_IF_ERROR(
      CopyFloats(found->second, {tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())}));
  return tensor;
}

Result<LoraHook::Branch> TakeBranch(const AdapterFolder& adapter, const LoraModule& module, const Site& site) {
  if (module.embedding) return Unimplemented("module " + module.path + ": is an adapted embedding, want a linear");
  LoraHook::Branch branch;
  branch.scale = module.scale;
  ASSIGN_OR_RETURN(branch.a, TakeTensor(adapter.file, PeftName(site.path, "lora_A.weight"), {module.rank, site.in}));
  ASSIGN_OR_RETURN(branch.b, TakeTensor(adapter.file, PeftName(site.path, "lora_B.weight"), {site.out, module.rank}));
  return branch;
}

}  // namespace

Result<std::shared_ptr<const SiteHook>> MakeAdapterHook(const AdapterFolder& adapter, const BaseShape& base) {
  RETURN_IF_ERROR(CheckTask(adapter.config));
  const std::vector<Site> sites = LinearSites(base);
  std::vector<LoraHook::Branch> branches(sites.size());
  for (const LoraModule& module : adapter.modules) {
    const auto site = std::ranges::find(sites, module.path, &Site::path);
    if (site == sites.end()) {
      return InvalidArgument("module " + module.path + ": is not a linear of the " + base.model_type +
                             " base (is it an adapter of another base?)");
    }
    ASSIGN_OR_RETURN(branches[static_cast<std::size_t>(site - sites.begin())], TakeBranch(adapter, module, *site));
  }
  return std::shared_ptr<const SiteHook>(std::make_shared<LoraHook>(std::move(branches)));
}

}  // namespace fedpeft
