#include "peft/model/weights.h"

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <utility>

#include "peft/io/quote.h"

namespace fedpeft {

namespace {

bool InPlace(const TensorView& view, torch::ScalarType dtype) {
  return view.dtype == Dtype::kF32 && dtype == torch::kFloat32 &&
         reinterpret_cast<std::uintptr_t>(view.data.data()) % alignof(float) == 0;
}

bool IsFloat(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16 || dtype == Dtype::kF64;
}

}  // namespace

WeightReader::WeightReader(std::shared_ptr<const ModelFolder> folder, const BaseShape& shape, BaseDtype dtype)
    : folder_(std::move(folder)),
      sites_(SitesOf(shape)),
      dtype_(dtype == BaseDtype::kBfloat16 ? torch::kBFloat16 : torch::kFloat32),
      int8_linears_(dtype == BaseDtype::kInt8) {
  for (std::size_t i = 0; i < sites_.linears.size(); ++i) linear_of_path_[sites_.linears[i].path] = i;
  for (std::size_t i = 0; i < sites_.norms.size(); ++i) norm_of_path_[sites_.norms[i].path] = i;
}

Result<torch::Tensor> WeightReader::Take(const std::string& name, const Shape& shape) {
  ASSIGN_OR_RETURN(const TensorView view, folder_->Find(name, shape));
  taken_.insert(name);
  if (!IsFloat(view.dtype)) {
    return Unimplemented(folder_->path() + ": tensor " + Quoted(view.name) + " has dtype " +
                         std::string(DtypeName(view.dtype)) + ", want F32, F16, BF16 or F64 (convert it)");
  }
  if (InPlace(view, dtype_)) {
    // LibTorch has no tensors of const memory. Nothing writes here: the base is frozen, and the map is read-only.
    auto* data = const_cast<std::uint8_t*>(view.data.data());
    return torch::from_blob(
        data, shape, [owner = folder_](void*) {}, torch::kFloat32);
  }
  torch::Tensor values = torch::empty(shape, torch::kFloat32);
  RETURN_IF_ERROR(CopyFloats(view, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}));
  return values.to(dtype_);
}

bool WeightReader::Has(const std::string& name) const {
  return folder_->tensors().contains(name);
}

Result<SiteLinear> WeightReader::Linear(const std::string& path) {
  const auto found = linear_of_path_.find(path);
  FEDPEFT_CHECK(found != linear_of_path_.end());
  const Site& site = sites_.linears[found->second];
  SiteLinear result{{}, found->second};
  const Shape shape = site.transposed ? Shape{site.in, site.out} : Shape{site.out, site.in};
  ASSIGN_OR_RETURN(result.linear.weight, Take(path + ".weight", shape));
  if (site.transposed) result.linear.weight = result.linear.weight.t();
  if (int8_linears_) result.linear.int8 = ToInt8(result.linear.weight);
  if (site.bias) {
    ASSIGN_OR_RETURN(result.linear.bias, Take(path + ".bias", {site.out}));
  }
  return result;
}

Result<SiteNorm> WeightReader::Norm(const std::string& path, double epsilon) {
  const auto found = norm_of_path_.find(path);
  FEDPEFT_CHECK(found != norm_of_path_.end());
  const NormSite& site = sites_.norms[found->second];
  SiteNorm result{{}, found->second};
  result.norm.epsilon = epsilon;
  ASSIGN_OR_RETURN(result.norm.weight, Take(path + ".weight", {site.width}));
  if (site.bias) {
    ASSIGN_OR_RETURN(result.norm.bias, Take(path + ".bias", {site.width}));
  }
  return result;
}

Status WeightReader::CheckAllUsed(const char* unused) const {
  for (const auto& [name, view] : folder_->tensors()) {
    const bool known = unused != nullptr && name.starts_with(std::string(unused) + ".");
    if (known || taken_.contains(name) || IsTaskHead(name)) continue;
    return InvalidArgument(folder_->path() + ": has a tensor " + Quoted(name) +
                           " that the model of its config.json has no place for");
  }
  return OkStatus();
}

}  // namespace fedpeft
